"""prepared -> encoded: words become numbers, as flat arrays that every worker maps into memory without a copy.

A split is three arrays: `tokens` (the index of each word's form), `offsets` (where each sequence begins) and `labels`, and
one for each further column, in `per_token/` and `per_sequence/`. Forms stand apart, once each, with their word id and
characters; numeric corpora have `values` in place of `tokens`.
"""

import json
import logging
import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.config import IGNORED, UNKNOWN_ID, Sizes, Target
from pipeline.config import CAPITALISATION, CorpusConfig, EncodeConfig, VectorsConfig
from pipeline.examples import ArrayFile
from pipeline.layout import Layout
from pipeline.manifest import write_manifest
from pipeline.numbering import Numbering, renumber
from pipeline.reading import SEQUENCE_COLUMN, TOKEN_COLUMN
from pipeline.vectors import VECTOR_READERS, VectorTable
from pipeline.vocab import CAPITALISATIONS, RESERVED, Vocab, ranked_values
from pipeline.words import count_units, find_contractions

logger = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
_FOLDERS = {TOKEN_COLUMN: "per_token", SEQUENCE_COLUMN: "per_sequence"}


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
    numberings = {name: Numbering() for name in _text_columns(corpus)}
    written = {split: _write_split(frame, numberings, out_dir, split) for split, frame in frames.items()}
    words = numberings.get("tokens")
    counts = {split: words.counts(split).rename({"entry": "form"}) for split in SPLITS} if words is not None else {}
    vector_table = _open_vectors(vectors, layout.raw_dir / "vectors") if vectors is not None else None
    vocab = _build_vocab(counts.get("train"), written["train"].units, numberings, config)
    num_counted = len(vocab.words)
    if vector_table is not None:
        vocab = vocab.with_words(vector_table.words.head(config.vector_words))
    vocab.save(out_dir / "vocab.json")
    forms = _write_forms(words.entries().sort(), vocab, out_dir) if words is not None else None
    _renumber(numberings, forms, vocab, out_dir)
    sizes = _sizes(corpus, vocab, written["train"].width, len(vocab.words) - num_counted)
    coverage = _write_vectors(vector_table, vocab, counts, out_dir) if vector_table is not None else None
    lost = {split: round(1 - numbers.kept / numbers.steps, 4) for split, numbers in written.items()}
    unknown = {split: _unknown_share(forms, counts[split]) for split in SPLITS} if forms is not None else None
    max_length = config.max_length if corpus.task == "classification" else None
    cut = {"max_length": max_length, "truncating": config.truncating, "lost_steps": lost}
    summary = {"sizes": asdict(sizes), **cut, "unknown_words": unknown, "vector_coverage": coverage}
    (out_dir / "summary.json").write_text(json.dumps(summary, indent=2), encoding="utf-8")
    write_manifest(out_dir)
    counted = {"words": vocab.words, "contractions": vocab.contractions, "characters": vocab.chars, "labels": vocab.labels}
    told = ", ".join(f"{len(entries):,} {what}" for what, entries in counted.items() if entries)
    logger.info("%s: %s", layout.pipeline, told)
    shares = {"unknown words": unknown, "words with a vector": coverage, "steps cut off": lost if max_length else None}
    _tell_shares(layout.pipeline, shares)


def _tell_shares(pipeline: str, known: dict[str, dict[str, float] | None]) -> None:
    for what, shares in known.items():
        if shares is not None:
            logger.info("%s: %s: %s", pipeline, what, ", ".join(f"{split} {share:.1%}" for split, share in shares.items()))


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


def _text_columns(corpus: CorpusConfig) -> list[str]:
    """Name the columns whose values become ids."""
    columns = corpus.columns
    further = [f"{TOKEN_COLUMN}{name}" for name in columns.per_token]
    further += [f"{SEQUENCE_COLUMN}{name}" for name in columns.per_sequence]
    return [*(() if corpus.is_numeric else ("tokens",)), "labels", *further]


def _file(column: str) -> str:
    """Name the array of a column."""
    prefix, is_further, name = column.partition(":")
    return f"{_FOLDERS[f'{prefix}:']}/{name}" if is_further else column


def _build_vocab(
    forms: pl.DataFrame | None, units: list[pl.DataFrame], numberings: dict[str, Numbering], config: EncodeConfig
) -> Vocab:
    counts = {column: numbering.counts("train") for column, numbering in numberings.items()}
    further = {column.partition(":")[2]: ranked_values(values) for column, values in counts.items() if ":" in column}
    no_forms = pl.DataFrame(schema={"form": pl.String, "len": pl.Int64})
    vocab = Vocab.build(no_forms if forms is None else forms, counts["labels"].rename({"entry": "label"}), config)
    contractions = {} if forms is None else find_contractions(pl.concat(units), forms)
    return replace(vocab, contractions=contractions, columns=further)


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


def _write_forms(forms: pl.Series, vocab: Vocab, out_dir: Path) -> pl.DataFrame:
    """Write what the network reads of the distinct word forms of all splits, in order of text: `form`, `word_id`."""
    encoded = vocab.encode_forms(forms)
    (out_dir / "forms").mkdir()
    for name, array in vars(encoded).items():
        np.save(out_dir / "forms" / f"{name}.npy", array)
    return pl.DataFrame({"form": forms, "word_id": encoded.word_ids})


def _renumber(numberings: dict[str, Numbering], forms: pl.DataFrame | None, vocab: Vocab, out_dir: Path) -> None:
    """Put what texts have become in place of their first numbers: the place of a form, the id of a label or other value."""
    for column, numbering in numberings.items():
        entries, missing = numbering.entries(), UNKNOWN_ID
        if column == "tokens":
            assert forms is not None
            ids = forms["form"].search_sorted(entries).to_numpy().astype(np.int32)
        elif column == "labels":
            ids, missing = vocab.encode_labels(entries), IGNORED
        else:
            ids = vocab.encode_column(column.partition(":")[2], entries)
        for split in SPLITS:
            renumber(out_dir / split / f"{_file(column)}.npy", ids, missing)


@dataclass
class _Written:
    """What was written of a split.

    Attributes:
        steps: before they were cut off.
        kept: steps that are left.
        width: numbers per step; 0 for text.
        units: of each batch, what is written as one word and read as several, as `count_units` gives it.
    """

    steps: int = 0
    kept: int = 0
    width: int = 0
    units: list[pl.DataFrame] = field(default_factory=list)


def _write_split(frame: pl.LazyFrame, numberings: dict[str, Numbering], out_dir: Path, split: str) -> _Written:
    """Write one split, batch by batch, each text as its first number."""
    for folder in _FOLDERS.values():
        (out_dir / split / folder).mkdir(parents=True)
    main = "tokens" if "tokens" in numberings else "values"
    files = {name: ArrayFile(out_dir / split / f"{_file(name)}.npy") for name in {"offsets", main, *numberings}}
    files["offsets"].append(np.zeros(1, np.int64))
    written = _Written()
    columns = {name: each.column(name, is_list=not name.startswith(SEQUENCE_COLUMN)) for name, each in numberings.items()}
    query = frame.select("steps", "written", **{main: pl.col(main)} | columns)
    for batch in query.collect_batches(maintain_order=True, engine="streaming"):
        ends = written.kept + batch[main].list.len().to_numpy().astype(np.int64).cumsum()
        files["offsets"].append(ends)
        written.kept, written.steps = int(ends[-1]), written.steps + int(batch["steps"].sum())
        for name, numbering in numberings.items():
            files[name].append(numbering.add(batch[name], split))
        if main == "values":
            values = _to_matrix(batch["values"])
            files["values"].append(values)
            written.width = values.shape[1]
        else:
            whole = batch.select("written", token="tokens").drop_nulls("written").explode("written", "token")
            written.units.append(count_units(whole.cast({"token": pl.String})))
    for file in files.values():
        file.close()
    return written


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
