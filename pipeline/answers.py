"""One piece of an input labelled, from its bytes to those of the output; the same bytes whatever was labelled before it."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from pipeline.errors import DataError
from pipeline.formats import FORMATS
from pipeline.inputs import Asked
from pipeline.labeler import Labeler
from pipeline.outputs import WRITERS
from pipeline.outputs import Answer as Written
from pipeline.predict import load
from pipeline.tasks import Job, Labelled

_MOST_TEXTS = 10_000
_MOST_CHARACTERS = 1_000_000
"""Labelled at once; a word in Python takes a hundred times the memory of its characters."""


def label_piece(job: Job) -> Labelled:
    """Label a piece with a labeler of its own.

    One that has labelled before keeps what it knows of word forms, whose last digits depend on which came together. A new one
    costs a twentieth of a second, and what is written then depends on the piece alone.

    Raises:
        DataError: the piece is malformed; naming the line.
        ParamsError: the model can not be run, or not for this.
    """
    task = job.task
    labeler = load(str(task.model), task.engine)
    asked = FORMATS[task.format].parse(job.piece, labeler.columns)
    answers = _label(labeler, asked)
    num_words = sum(len(answer["words"]) for answer in answers) if labeler.is_tagger else _count_words(asked)
    return Labelled(WRITERS[task.form](asked, answers), num_words)


def _count_words(asked: Asked) -> int:
    return sum(len(text.split()) for text in asked.texts) or sum(map(len, asked.tokens))


def _label(labeler: Labeler, asked: Asked) -> list[Written]:
    """Give an answer to each that is asked, in order."""
    sizes = asked.sizes
    ask = _ask_texts if asked.texts else _ask_tokens
    found: list[Written] = []
    for rows in _batches(sizes):
        try:
            found += ask(labeler, asked, rows)
        except DataError:
            _blame(ask, labeler, asked, rows)
            raise
    if len(found) == len(sizes):
        return found
    each, nothing = iter(found), _nothing(labeler, found[:1])
    return [next(each) if size else nothing for size in sizes]


def _batches(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Number what has words, as many as shall be labelled at once."""
    rows: list[int] = []
    num_characters = 0
    for row, size in enumerate(sizes):
        if rows and (len(rows) == _MOST_TEXTS or num_characters + size > _MOST_CHARACTERS):
            yield rows
            rows, num_characters = [], 0
        if size:
            rows.append(row)
            num_characters += size
    if rows:
        yield rows


Ask = Callable[[Labeler, Asked, Sequence[int]], list[Written]]


def _ask_texts(labeler: Labeler, asked: Asked, rows: Sequence[int]) -> list[Written]:
    return labeler.label_texts([asked.texts[row] for row in rows])


def _ask_tokens(labeler: Labeler, asked: Asked, rows: Sequence[int]) -> list[Written]:
    """Label words as they are given, and say it as is said of texts."""
    tokens = [asked.tokens[row] for row in rows]
    answers = labeler.label_tokens(tokens, [asked.columns[row] for row in rows] if labeler.columns else ())
    per_text = _per_text(labeler, answers[0].further)
    if not labeler.is_tagger:
        return [
            {"label": answer.labels[0], "probability": answer.probabilities[0]}
            | {name: answer.further[name][0] for name in per_text}
            for answer in answers
        ]
    return [
        {"words": words, "labels": answer.labels, "probabilities": answer.probabilities}
        | {name: values[0] if name in per_text else values for name, values in answer.further.items()}
        for words, answer in zip(tokens, answers, strict=True)
    ]


def _per_text(labeler: Labeler, further: Iterable[str]) -> list[str]:
    """Tell which further targets have one label per text: two words show it."""
    if not further:
        return []
    (answer,) = labeler.label_tokens([["a", "a"]], [{name: ["a", "a"] for name in labeler.columns}])
    return [name for name in further if len(answer.further[name]) == 1]


def _nothing(labeler: Labeler, example: Sequence[Written]) -> Written:
    """Make the answer to what has no words."""
    least: Written = (
        {"words": [], "labels": [], "probabilities": []} if labeler.is_tagger else {"label": None, "probability": None}
    )
    return least | {name: [] if isinstance(value, list) else None for answer in example for name, value in answer.items()}


def _blame(ask: Ask, labeler: Labeler, asked: Asked, rows: Sequence[int]) -> None:
    """Find which of these can not be labelled, one by one, and name its line."""
    for row in rows:
        try:
            ask(labeler, asked, [row])
        except DataError as error:
            raise DataError(f"{asked.path}:{asked.numbers[row]}:1: {str(error).removeprefix('text 1 ')}") from error
