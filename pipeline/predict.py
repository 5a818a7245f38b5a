"""Text in, labels out, with a registered model or a model folder: a line is a text."""

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from pipeline import tracking
from pipeline.engines import EngineName
from pipeline.errors import ParamsError
from pipeline.labeler import Labeler

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
            out.writelines(_lines(text, answer))
        out.flush()


def load(model: str, engine: EngineName = "auto") -> Labeler:
    """Load a model from the registry or from a folder.

    Raises:
        ParamsError: there is no such model, or the engine can not run it.
    """
    folder = _fetch(model) if model.startswith(("models:", "runs:")) else Path(model)
    try:
        return Labeler.load(folder, engine)
    except ValueError as error:
        raise ParamsError(f"--engine {engine}: can not run {model}; {error}; fix: leave it out") from error


def _fetch(model: str) -> Path:
    try:
        return tracking.download_model(model)
    except LookupError as error:
        raise ParamsError(
            f"--model {model}: not in the registry at {tracking.tracking_uri()}; {error}; fix: `make repro` registers models"
        ) from error


_MAIN = ("words", "labels", "label", "probabilities", "probability")


def _lines(text: str, answer: dict[str, Any]) -> Iterator[str]:
    further = {name: values for name, values in answer.items() if name not in _MAIN}
    for name, value in further.items():
        if isinstance(value, str):
            yield f"# {name} = {value}\n"
    if "words" in answer:
        columns = [answer["words"], answer["labels"], *(values for values in further.values() if isinstance(values, list))]
        yield "\n".join(map("\t".join, zip(*columns, strict=True))) + "\n\n"
    else:
        yield f"{answer['label']}\t{answer['probability']:.4f}\t{text}\n"
