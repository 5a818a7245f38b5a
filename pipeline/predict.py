"""Text in, labels out, with a registered model or a model folder: a line is a text. What goes into files is for `files`."""

import sys
from collections.abc import Iterable
from itertools import islice
from typing import TextIO

from pipeline.addresses import find_model
from pipeline.engines import EngineName
from pipeline.errors import ParamsError
from pipeline.labeler import Labeler
from pipeline.outputs import text_lines

_CHUNK = 10_000
"""Texts in memory at once."""


def run(model: str, lines: Iterable[str], out: TextIO = sys.stdout, engine: EngineName = "auto") -> None:
    """Label lines of text as they come.

    A tagger writes a word and its tag per line, then its further tags, and a blank line after each text; a classifier
    writes the label, its probability and the text, separated by tabs. What else a whole text is stands above it, as
    `# intent = flight`. Lines without text are passed over.

    Args:
        model: an MLflow address such as `models:/pos@champion`, or a model folder.
        lines: one text each.
        out: where the labels go.
        engine: what runs the network; see `pipeline.engines`.

    Raises:
        ParamsError: there is no such model, or the engine can not run it.
    """
    labeler = load(model, engine)
    texts = (line.strip() for line in lines)
    filled = (text for text in texts if text)
    while chunk := list(islice(filled, _CHUNK)):
        for text, answer in zip(chunk, labeler.label_texts(chunk), strict=True):
            out.writelines(text_lines(text, answer))
        out.flush()


def load(model: str, engine: EngineName = "auto") -> Labeler:
    """Load a model from the registry or from a folder.

    Raises:
        ParamsError: there is no such model, or the engine can not run it.
    """
    folder = find_model(model)
    try:
        return Labeler.load(folder, engine)
    except ValueError as error:
        raise ParamsError(f"--engine {engine}: can not run {model}; {error}; fix: leave it out") from error
