"""What is suspicious in a corpus though every line of it is well-formed: labels, duplicates, leakage, lengths, spelling, drift.

All is counted by polars over the splits, each read once per question, in memory that grows with the number of examples
and of distinct words, not with the length of the text.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from pipeline.errors import DataError
from pipeline.splits import CONTENT

RARE = 5
"""A label that train has less often can hardly be learnt."""
DRIFT = 0.1
"""The share of labels that would have to be others for two splits to be alike, from which they are told apart."""
SINGLE_LABEL = "single-label"
_MOST_NAMED = 5
_LONG = 5
"""Words from which a text that stands in two splits is no mere phrase."""
_INVISIBLE = "[\u00ad\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
"""Soft hyphens, spaces without width, marks of direction; not the joiners U+200C and U+200D, which Persian and emoji need."""
_CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
_WORD = pl.col("word")
_SPELLINGS = {
    "not-nfc": (_WORD.str.normalize("NFC") != _WORD, "not in Unicode's composed form (NFC); a letter is spelt in two ways"),
    "invisible": (_WORD.str.contains(_INVISIBLE), "with characters that nobody sees; they make other words of them"),
    "control": (_WORD.str.contains(_CONTROL), "with control characters"),
    "replaced": (_WORD.str.contains("\ufffd", literal=True), "with U+FFFD, which stands where a character was lost"),
}


@dataclass(frozen=True)
class Flaw:
    """Something suspicious in a split.

    Attributes:
        kind: a short name for it.
        split: where.
        count: of what is meant.
        text: what; why it matters.
        places: ids of examples, or what else shows it.
        is_fatal: whether nothing can be trained on such data.
        words: that show it, as they stand in the file.
    """

    kind: str
    split: str
    count: int
    text: str
    places: tuple[str, ...] = ()
    is_fatal: bool = False
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{'error' if self.is_fatal else 'warning'}: {self.split}: {self.text}"


@dataclass(frozen=True)
class Look:
    """What is known of splits as prepare writes them, each question answered once.

    Attributes:
        files: split -> parquet file, train first.
    """

    files: dict[str, Path]

    def _scan(self, split: str) -> pl.LazyFrame:
        return pl.scan_parquet(self.files[split]).with_row_index("row")

    @property
    def first(self) -> str:
        """Name the split that the others are held against."""
        return next(iter(self.files))

    @cached_property
    def labels(self) -> dict[str, pl.DataFrame]:
        """Give each split's labels, the most frequent first: `label`, `len`, and `row`, where the first stands."""
        return {split: _count(self._scan(split), "labels", "label") for split in self.files}

    @cached_property
    def words(self) -> dict[str, pl.DataFrame]:
        """Give each split's distinct words, the most frequent first: `word`, `len`, `row`. Numeric ones have none."""
        return {split: _count(self._scan(split), "tokens", "word") for split in self.files}

    @cached_property
    def examples(self) -> pl.DataFrame:
        """Give all examples: `split`, `row`, `steps`, and hashes of what they say, `content`, and of their labels, `answer`."""
        steps = pl.coalesce(pl.col("tokens").list.len(), pl.col("values").list.len())
        asked = {"steps": steps, "content": CONTENT.hash(), "answer": pl.col("labels").list.join("\t").hash()}
        frames = [self._scan(split).select("row", split=pl.lit(split), **asked) for split in self.files]
        return pl.concat(pl.collect_all(frames, engine="streaming"))

    def names(self, split: str, rows: Sequence[int]) -> tuple[str, ...]:
        """Give the ids of examples."""
        few = self._scan(split).filter(pl.col("row").is_in(rows[:_MOST_NAMED])).select("id").collect(engine="streaming")
        return tuple(few["id"])


def _count(frame: pl.LazyFrame, column: str, name: str) -> pl.DataFrame:
    each = frame.select("row", pl.col(column).alias(name)).explode(name, empty_as_null=False).drop_nulls()
    counted = each.group_by(name).agg(pl.len(), pl.col("row").min()).collect(engine="streaming")
    return counted.sort("len", name, descending=[True, False])


def find_flaws(look: Look) -> list[Flaw]:
    """Find all that is suspicious, in a fixed order."""
    return [flaw for find in _CHECKS for flaw in find(look)]


def refuse(flaws: Sequence[Flaw], name: str, *, is_strict: bool) -> None:
    """Stop at flaws that are fatal or, strictly, at any.

    Raises:
        DataError: with a line for each.
    """
    wrong = [flaw for flaw in flaws if flaw.is_fatal or is_strict]
    if wrong:
        raise DataError("\n".join(f"{name}: {flaw}; fix: mend the corpus or cut it otherwise" for flaw in wrong))


def _find_single_label(look: Look) -> Iterator[Flaw]:
    train = look.labels[look.first]
    if len(train) == 1:
        label = train["label"].item()
        yield Flaw(
            SINGLE_LABEL, look.first, train["len"].item(), f"has the label {label!r} alone; there is nothing to learn", (), True
        )


def _find_rare_labels(look: Look) -> Iterator[Flaw]:
    train = look.labels[look.first]
    rare = train.filter(pl.col("len") < RARE)
    if len(rare) and len(train) > 1:
        text = f"{_num(len(rare), 'label')} of {len(train)} less than {RARE} times; so few can hardly be learnt from"
        yield Flaw("rare-labels", look.first, len(rare), text, _named(rare, "label"))


def _find_unseen_labels(look: Look) -> Iterator[Flaw]:
    known = look.labels[look.first].select("label")
    for split in list(look.files)[1:]:
        unseen = look.labels[split].join(known, on="label", how="anti", maintain_order="left")
        if len(unseen):
            count = int(unseen["len"].sum())
            ids = look.names(split, unseen["row"].to_list())
            text = f"{_num(len(unseen), 'label')} that {look.first} lacks, {count:,} times in all; each is scored as an error"
            yield Flaw("unseen-labels", split, count, text, (*_named(unseen, "label"), f"first in {ids[0]}"))


def _find_duplicates(look: Look) -> Iterator[Flaw]:
    for split in look.files:
        own = look.examples.filter(pl.col("split") == split)
        again = own.filter(~pl.col("content").is_first_distinct())
        if len(again):
            share = f"{_num(len(again), 'example')} of {len(own):,} ({len(again) / len(own):.1%})"
            text = f"{share} {_say(len(again))} what one before says"
            yield Flaw("duplicates", split, len(again), text, look.names(split, again["row"].to_list()))
        answers = own.group_by("content").agg(pl.col("answer").n_unique(), pl.col("row").min(), pl.len())
        torn = answers.filter(pl.col("answer") > 1).sort("row")
        if len(torn):
            count = int(torn["len"].sum())
            text = f"{_num(count, 'example')} {_say(count)} the same as others under other labels; no network gets all right"
            yield Flaw("contradictions", split, count, text, look.names(split, torn["row"].to_list()))


def _find_leaks(look: Look) -> Iterator[Flaw]:
    seen = look.examples.filter(pl.col("split") == look.first).select("content")
    for split in list(look.files)[1:]:
        own = look.examples.filter(pl.col("split") == split)
        leaked = own.join(seen, on="content", how="semi", maintain_order="left")
        if len(leaked):
            long = leaked.filter(pl.col("steps") >= _LONG)
            shown = (long if len(long) else leaked)["row"].to_list()
            text = (
                f"{_num(len(leaked), 'example')} of {len(own):,} ({len(leaked) / len(own):.1%}) also {_stand(len(leaked))} in "
                f"{look.first}, {len(long):,} of them of {_LONG} steps or more; scores flatter the model"
            )
            yield Flaw("leakage", split, len(leaked), text, look.names(split, shown))


def _find_spellings(look: Look) -> Iterator[Flaw]:
    for split, words in look.words.items():
        for kind, (is_meant, what) in _SPELLINGS.items():
            found = words.filter(is_meant)
            if len(found):
                count, shown = int(found["len"].sum()), tuple(found["word"].head(_MOST_NAMED))
                ids = look.names(split, found["row"].sort().to_list())
                places = (*map(ascii, shown), f"first in {ids[0]}")
                yield Flaw(kind, split, count, f"{_num(count, 'word')} {what}", places, words=shown)


def _find_drift(look: Look) -> Iterator[Flaw]:
    known = _shares(look.labels[look.first], "known")
    for split in list(look.files)[1:]:
        own = look.labels[split]
        both = known.join(_shares(own, "own"), on="label", how="full", coalesce=True).fill_null(0.0)
        both = both.with_columns(gain=pl.col("own") - pl.col("known")).sort(
            pl.col("gain").abs(), "label", descending=[True, False]
        )
        distance = float(both["gain"].abs().sum()) / 2
        num = int(own["len"].sum())
        by_chance = float(both.select((2 * pl.col("known") * (1 - pl.col("known")) / (3.14159 * num)).sqrt().sum()).item()) / 2
        if distance > max(DRIFT, 2 * by_chance):
            text = f"labels are spread otherwise than in {look.first}: {distance:.1%} of them would have to be others"
            most = both.head(3).select("label", "known", "own").rows()
            yield Flaw("drift", split, num, text, tuple(f"{label} {one:.1%} -> {other:.1%}" for label, one, other in most))


def _shares(labels: pl.DataFrame, name: str) -> pl.DataFrame:
    return labels.select("label", (pl.col("len") / pl.col("len").sum()).alias(name))


def _named(labels: pl.DataFrame, name: str) -> tuple[str, ...]:
    return tuple(f"{label} ({count:,})" for label, count in labels.head(_MOST_NAMED).select(name, "len").rows())


def _num(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' if count != 1 else ''}"


def _say(count: int) -> str:
    return "say" if count != 1 else "says"


def _stand(count: int) -> str:
    return "stand" if count != 1 else "stands"


_CHECKS: tuple[Callable[[Look], Iterator[Flaw]], ...] = (
    _find_single_label,
    _find_rare_labels,
    _find_unseen_labels,
    _find_duplicates,
    _find_leaks,
    _find_spellings,
    _find_drift,
)
