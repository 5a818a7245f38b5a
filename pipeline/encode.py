"""prepared -> encoded: words become numbers, as flat arrays that every worker maps into memory without a copy.

A split is three arrays: `tokens` (the index of each word's form), `offsets` (where each sequence begins) and `labels`, and
one for each further column, in `per_token/` and `per_sequence/`. Forms stand apart, once each, with their word id and
characters; numeric corpora have `values` in place of `tokens`.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.config import IGNORED, UNKNOWN_ID, Sizes, Target
from pipeline.config import CAPITALISATION, CorpusConfig, EncodeConfig, VectorsConfig
from pipeline.examples import ArrayFile
from pipeline.layout import Layout
from pipeline.reading import SEQUENCE_COLUMN, TOKEN_COLUMN
from pipeline.vectors import VECTOR_READERS, VectorTable
from pipeline.vocab import CAPITALISATIONS, RESERVED, Vocab, ranked_values
from pipeline.words import count_units, find_contractions

SPLITS = ("train", "val", "test")


def run(corpus: CorpusConfig, config: EncodeConfig, vectors: VectorsConfig | None, layout: Layout) -> None:
    """Encode every split of a prepared corpus.

    Args:
        corpus: says the task.
        config: how words become numbers.
        vectors: pre-trained word vectors, fetched beside the corpus.
        layout: where to read and write.
    """
    frames = {split: _read(layout.prepared_dir / f"{split}.parquet", corpus, config) for split in SPLITS}
    out_dir = layout.encoded_dir
    shutil.rmtree(out_dir, ignore_errors=True)
    out_dir.mkdir(parents=True)
    counts = {} if corpus.is_numeric else {split: _count(frame, "tokens", "form") for split, frame in frames.items()}
    vector_table = _open_vectors(vectors, layout.raw_dir / "vectors") if vectors is not None else None
    vocab = _build_vocab(frames["train"], counts.get("train"), corpus, config)
    num_counted = len(vocab.words)
    if vector_table is not None:
        vocab = vocab.with_words(vector_table.words.head(config.vector_words))
    vocab.save(out_dir / "vocab.json")
    forms = _write_forms(counts, vocab, out_dir) if counts else None
    written = {split: _write_split(frame, vocab, forms, out_dir / split) for split, frame in frames.items()}
    sizes = _sizes(corpus, vocab, written["train"].width, len(vocab.words) - num_counted)
    coverage = _write_vectors(vector_table, vocab, counts, out_dir) if vector_table is not None else None
    lost = {split: round(1 - numbers.kept / numbers.steps, 4) for split, numbers in written.items()}
    unknown = {split: _unknown_share(forms, counts[split]) for split in SPLITS} if forms is not None else None
    max_length = config.max_length if corpus.task == "classification" else None
    cut = {"max_length": max_length, "truncating": config.truncating, "lost_steps": lost}
    summary = {"sizes": asdict(sizes), **cut, "unknown_words": unknown, "vector_coverage": coverage}
    (out_dir / "summary.json").write_text(json.dumps(summary, indent=2), encoding="utf-8")
    counted = {"words": vocab.words, "contractions": vocab.contractions, "characters": vocab.chars, "labels": vocab.labels}
    print(f"{layout.pipeline}: " + ", ".join(f"{len(entries):,} {what}" for what, entries in counted.items() if entries))
    shares = {"unknown words": unknown, "words with a vector": coverage, "steps cut off": lost if max_length else None}
    _print_shares(layout.pipeline, shares)


def _print_shares(pipeline: str, known: dict[str, dict[str, float] | None]) -> None:
    for what, shares in known.items():
        if shares is not None:
            print(f"{pipeline}: {what}: " + ", ".join(f"{split} {share:.1%}" for split, share in shares.items()))


def _unknown_share(forms: pl.DataFrame, counts: pl.DataFrame) -> float:
    """Give the share of a split's words, repeats counted, that share the unknown word's row."""
    unknown = forms.filter(pl.col("word_id") == UNKNOWN_ID)
    return _share(counts.join(unknown, on="form", how="semi"), counts)


def _share(part: pl.DataFrame, counts: pl.DataFrame) -> float:
    return round(int(part["len"].sum()) / int(counts["len"].sum()), 4)


def _read(path: Path, corpus: CorpusConfig, config: EncodeConfig) -> pl.LazyFrame:
    """Scan a split, cut to length; `steps` is how long each sequence was."""
    frame = pl.scan_parquet(path).with_columns(steps=pl.coalesce(pl.col("tokens").list.len(), pl.col("values").list.len()))
    if corpus.task != "classification" or config.max_length is None:
        return frame
    sequences = pl.col("tokens", "values", "written", f"^{TOKEN_COLUMN}.*$").list
    return frame.with_columns(
        sequences.tail(config.max_length) if config.truncating == "pre" else sequences.head(config.max_length)
    )


def _count(frame: pl.LazyFrame, column: str, name: str) -> pl.DataFrame:
    """Count the distinct values of a column, which may hold lists: `name`, `len`."""
    values = frame.select(pl.col(column).alias(name))
    if values.collect_schema()[name] == pl.List:
        values = values.explode(name)
    return values.group_by(name).len().collect(engine="streaming")


def _build_vocab(train: pl.LazyFrame, forms: pl.DataFrame | None, corpus: CorpusConfig, config: EncodeConfig) -> Vocab:
    columns = [f"{TOKEN_COLUMN}{name}" for name in corpus.columns.per_token]
    columns += [f"{SEQUENCE_COLUMN}{name}" for name in corpus.columns.per_sequence]
    further = {column.partition(":")[2]: ranked_values(_count(train, column, "entry")) for column in columns}
    no_forms = pl.DataFrame(schema={"form": pl.String, "len": pl.UInt32})
    vocab = Vocab.build(no_forms if forms is None else forms, _count(train, "labels", "label"), config)
    contractions = {} if forms is None else find_contractions(_units(train), forms)
    return replace(vocab, contractions=contractions, columns=further)


def _units(train: pl.LazyFrame) -> pl.DataFrame:
    """Count what is written as one word and read as several, which only some corpora have."""
    examples = train.filter(pl.col("written").is_not_null()).select(token="tokens", written="written")
    counts = [count_units(batch.explode("token", "written")) for batch in examples.collect_batches(engine="streaming")]
    return pl.concat([count_units(pl.DataFrame(schema={"token": pl.String, "written": pl.String})), *counts])


def _sizes(corpus: CorpusConfig, vocab: Vocab, vector_size: int, num_fixed: int) -> Sizes:
    columns = corpus.columns
    features = {name: len(vocab.columns[name]) for name in columns.per_token}
    targets = {name: Target("tagging", len(vocab.column_labels(name))) for name in columns.per_token}
    targets |= {name: Target("classification", len(vocab.column_labels(name))) for name in columns.per_sequence}
    return Sizes(
        corpus.task,
        len(vocab.words),
        len(vocab.chars),
        len(vocab.labels),
        vector_size,
        num_fixed,
        features if vector_size else {CAPITALISATION: len(CAPITALISATIONS), **features},
        targets,
        vocab.labels,
    )


def _write_forms(counts: dict[str, pl.DataFrame], vocab: Vocab, out_dir: Path) -> pl.DataFrame:
    """Write what the network reads of the distinct word forms of all splits, in order of text: `form`, `word_id`."""
    forms = pl.concat([each["form"] for each in counts.values()]).unique().sort()
    encoded = vocab.encode_forms(forms)
    (out_dir / "forms").mkdir()
    for name, array in vars(encoded).items():
        np.save(out_dir / "forms" / f"{name}.npy", array)
    return pl.DataFrame({"form": forms, "word_id": encoded.word_ids})


@dataclass
class _Written:
    """What was written of a split: steps before they were cut off, steps kept, and the numbers per step; 0 for text."""

    steps: int = 0
    kept: int = 0
    width: int = 0


def _write_split(frame: pl.LazyFrame, vocab: Vocab, forms: pl.DataFrame | None, out_dir: Path) -> _Written:
    """Write one split, batch by batch."""
    sources = _sources(frame, vocab, forms)
    main = "tokens" if forms is not None else "values"
    for folder in ("per_token", "per_sequence"):
        (out_dir / folder).mkdir(parents=True)
    files = {name: ArrayFile(out_dir / f"{name}.npy") for name in ("offsets", *sources)}
    files["offsets"].append(np.zeros(1, np.int64))
    written = _Written()
    # Ids come from an Enum, whose entries are looked up in a table that is made once.
    query = frame.select("steps", **{name: source.column for name, source in sources.items()})
    for batch in query.collect_batches(maintain_order=True, engine="streaming"):
        ends = written.kept + batch[main].list.len().to_numpy().astype(np.int64).cumsum()
        files["offsets"].append(ends)
        written.kept, written.steps = int(ends[-1]), written.steps + int(batch["steps"].sum())
        for name, source in sources.items():
            files[name].append(source.array(batch[name]))
    for file in files.values():
        file.close()
    if forms is None:
        written.width = int(np.load(out_dir / "values.npy", mmap_mode="r").shape[1])
    return written


@dataclass(frozen=True)
class _Source:
    """A column of a split, and how what it gives becomes an array."""

    column: pl.Expr
    array: Callable[[pl.Series], NDArray[Any]]


def _sources(frame: pl.LazyFrame, vocab: Vocab, forms: pl.DataFrame | None) -> dict[str, _Source]:
    """Name the arrays of a split after their files."""
    sources = {"labels": _ids("labels", vocab.labels, IGNORED, is_list=True)}
    if forms is not None:
        sources["tokens"] = _ids("tokens", forms["form"], UNKNOWN_ID, is_list=True)
    else:
        sources["values"] = _Source(pl.col("values"), _to_matrix)
    for column in frame.collect_schema().names():
        prefix, is_further, name = column.partition(":")
        if is_further:
            is_list = f"{prefix}:" == TOKEN_COLUMN
            folder = "per_token" if is_list else "per_sequence"
            sources[f"{folder}/{name}"] = _ids(column, vocab.columns[name], UNKNOWN_ID, is_list=is_list)
    return sources


def _ids(column: str, entries: Sequence[str] | pl.Series, missing: int, *, is_list: bool) -> _Source:
    kind: pl.DataType = pl.Enum(pl.Series(entries, dtype=pl.String))
    cast = pl.col(column).cast(pl.List(kind) if is_list else kind, strict=False)

    def array(values: pl.Series) -> NDArray[np.int32]:
        flat = values.explode() if is_list else values
        return flat.to_physical().cast(pl.Int32).fill_null(missing).to_numpy()

    return _Source(cast, array)


def _to_matrix(values: pl.Series) -> NDArray[np.float32]:
    steps = values.explode()
    return steps.explode().to_numpy().astype(np.float32).reshape(len(steps), -1)


def _open_vectors(config: VectorsConfig, folder: Path) -> VectorTable:
    return VECTOR_READERS[config.format](folder, config.file, config.index)


def _write_vectors(table: VectorTable, vocab: Vocab, counts: dict[str, pl.DataFrame], out_dir: Path) -> dict[str, float]:
    """Write the vectors of a vocabulary's words; returns the coverage of every split."""
    index = table.words.to_frame().with_row_index("row")
    np.save(out_dir / "vectors.npy", _rows_for(vocab.words, table, index))
    return {split: _coverage(each, vocab, index) for split, each in counts.items()}


def _rows_for(words: tuple[str, ...], table: VectorTable, index: pl.DataFrame) -> NDArray[np.float32]:
    """Give (V, D): a word's vector, zeros for padding, and noise of the vectors' own spread for words without one."""
    found = pl.DataFrame({"word": list(words)}).join(index, on="word", how="left", maintain_order="left")["row"]
    covered = found.is_not_null().to_numpy()
    vectors = np.empty((len(words), table.width), np.float32)
    vectors[covered] = table.rows(found.drop_nulls().to_numpy().astype(np.int64))
    spread = vectors[covered].std() if covered.any() else 0.1
    vectors[~covered] = np.random.default_rng(0).normal(0, spread, (int((~covered).sum()), vectors.shape[1]))
    vectors[RESERVED.index("<pad>")] = 0
    return vectors


def _coverage(counts: pl.DataFrame, vocab: Vocab, index: pl.DataFrame) -> float:
    """Give the share of a split's words, repeats counted, whose row of the word table came from the vectors."""
    covered = pl.DataFrame({"word": list(vocab.words)}).join(index, on="word", how="semi")
    words = counts.with_columns(word=pl.col("form").str.to_lowercase() if vocab.lowercase else pl.col("form"))
    return _share(words.join(covered, on="word", how="semi"), counts)
