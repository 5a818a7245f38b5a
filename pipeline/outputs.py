"""The forms of answers: lines of text, CoNLL-U with its tags replaced, or parquet with further columns."""

from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import polars as pl

from pipeline.errors import DataError, ParamsError
from pipeline.inputs import Asked, FormatName

Answer = dict[str, Any]
"""What is said of a text: see `Labeler.label_texts`; of one without words the lists are empty, and what else there is None."""
_MAIN = ("words", "labels", "label", "probabilities", "probability")
_KINDS: dict[str, pl.DataType] = {
    "probabilities": pl.Float32(),
    "probability": pl.Float32(),
}
"""Of what is no string."""


def text_lines(text: str, answer: Answer) -> Iterator[str]:
    """Write an answer for people, as `pipeline.predict.run` says."""
    further = {name: values for name, values in answer.items() if name not in _MAIN}
    for name, value in further.items():
        if isinstance(value, str):
            yield f"# {name} = {value}\n"
    if "words" in answer:
        columns = [answer["words"], answer["labels"], *(values for values in further.values() if isinstance(values, list))]
        yield "\n".join(map("\t".join, zip(*columns, strict=True))) + "\n\n"
    else:
        yield f"{answer['label']}\t{answer['probability']:.4f}\t{text}\n"


def to_text(asked: Asked, answers: Sequence[Answer]) -> bytes:
    """Write answers as lines; what has no words is passed over."""
    texts = asked.texts or [" ".join(words) for words in asked.tokens]
    filled = zip(texts, answers, asked.sizes, strict=True)
    return "".join(line for text, answer, size in filled if size for line in text_lines(text, answer)).encode()


def to_conllu(asked: Asked, answers: Sequence[Answer]) -> bytes:
    """Put labels into the column UPOS of words; all else stays as it stands.

    Raises:
        ParamsError: the model has no label per word.
    """
    assert asked.lines is not None
    if any("label" in answer for answer in answers):
        raise ParamsError(f"{asked.path}: CoNLL-U has no place for a label per text; fix: give --out another ending")
    lines = asked.lines["line"].to_list()
    at = asked.lines["is_word"].arg_true()
    for place, label in zip(at, (label for answer in answers for label in answer["labels"]), strict=True):
        before, form, lemma, _, rest = lines[place].split("\t", 4)
        lines[place] = f"{before}\t{form}\t{lemma}\t{label}\t{rest}"
    return "\n".join(lines).encode()


def to_parquet(asked: Asked, answers: Sequence[Answer]) -> bytes:
    """Add answers to the table of what was asked, as columns.

    Raises:
        DataError: it has a column of such a name.
    """
    names = list(answers[0]) if answers else []
    taken = sorted(set(names) & set(asked.table.columns))
    if taken:
        raise DataError(f"{asked.path}:1:1: has columns {taken}, as the answers will; fix: rename them")
    columns = [_column(name, [answer[name] for answer in answers]) for name in names]
    buffer = BytesIO()
    asked.table.hstack(columns).write_parquet(buffer)
    return buffer.getvalue()


def _column(name: str, values: list[Any]) -> pl.Series:
    is_per_word = any(isinstance(value, list) for value in values)
    kind = _KINDS.get(name, pl.String())
    return _lists(name, values, kind) if is_per_word else pl.Series(name, values, dtype=kind)


def _lists(name: str, values: list[list[Any]], kind: pl.DataType) -> pl.Series:
    """Make a column of lists from all of their elements at once, several times faster than from each list."""
    flat = pl.Series(name, [value for each in values for value in each], dtype=kind)
    row = np.repeat(np.arange(len(values)), [len(each) for each in values])
    gathered = pl.DataFrame({"row": row, name: flat}).set_sorted("row").group_by("row", maintain_order=True).agg(name)
    rows = pl.DataFrame({"row": np.arange(len(values))})
    return rows.join(gathered, on="row", how="left", maintain_order="left")[name].fill_null([])


Writer = Callable[[Asked, Sequence[Answer]], bytes]
WRITERS: dict[FormatName, Writer] = {"text": to_text, "conllu": to_conllu, "parquet": to_parquet}
