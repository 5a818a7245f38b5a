"""prepared -> encoded: words become numbers, as flat arrays that every worker maps into memory without a copy.

A split is three arrays: `tokens` (the index of each word's form), `offsets` (where each sequence begins) and `labels`, and
one for each further column, in `per_token/` and `per_sequence/`. Forms stand apart, once each, with their word id and
characters; numeric corpora have `values` in place of `tokens`.
"""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.config import UNKNOWN_ID, Sizes, Target
from pipeline.config import CAPITALISATION, CorpusConfig, EncodeConfig, VectorsConfig
from pipeline.examples import Examples
from pipeline.layout import Layout
from pipeline.reading import SEQUENCE_COLUMN, TOKEN_COLUMN
from pipeline.vectors import VECTOR_READERS, VectorTable
from pipeline.vocab import CAPITALISATIONS, RESERVED, Vocab, ranked_values
from pipeline.words import find_contractions

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
    is_text = not corpus.is_numeric
    vector_table = _open_vectors(vectors, layout.raw_dir / "vectors") if vectors is not None else None
    vocab = replace(_build_vocab(frames["train"], config, is_text), columns=_further_vocabs(frames["train"], corpus))
    num_counted = len(vocab.words)
    if vector_table is not None:
        vocab = vocab.with_words(vector_table.words.head(config.vector_words))
    vocab.save(out_dir / "vocab.json")
    forms = _write_forms(frames, vocab, out_dir) if is_text else None
    vector_size = 0
    for split, frame in frames.items():
        vector_size = _write_split(frame, vocab, forms, out_dir / split)
    sizes = _sizes(corpus, vocab, vector_size, len(vocab.words) - num_counted)
    coverage = _write_vectors(vector_table, vocab, frames, out_dir) if vector_table is not None else None
    lost = {split: _lost_share(layout.prepared_dir / f"{split}.parquet", out_dir / split) for split in SPLITS}
    unknown = {split: _unknown_share(out_dir, split) for split in SPLITS} if is_text else None
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


def _lost_share(prepared: Path, encoded_dir: Path) -> float:
    """Give the share of a split's steps that truncation took."""
    steps = pl.coalesce(pl.col("tokens").list.len(), pl.col("values").list.len()).sum()
    kept = int(np.load(encoded_dir / "offsets.npy")[-1])
    return round(1 - kept / pl.scan_parquet(prepared).select(steps).collect().item(), 4)


def _unknown_share(out_dir: Path, split: str) -> float:
    """Give the share of a split's words, repeats counted, that share the unknown word's row."""
    examples = Examples.open(out_dir, split)
    assert examples.tokens is not None and examples.forms is not None
    return round(float((examples.forms.word_ids[examples.tokens] == UNKNOWN_ID).mean()), 4)


def _read(path: Path, corpus: CorpusConfig, config: EncodeConfig) -> pl.LazyFrame:
    frame = pl.scan_parquet(path)
    if corpus.task != "classification" or config.max_length is None:
        return frame
    sequences = pl.col("tokens", "values", "written", f"^{TOKEN_COLUMN}.*$").list
    return frame.with_columns(
        sequences.tail(config.max_length) if config.truncating == "pre" else sequences.head(config.max_length)
    )


def _further_vocabs(train: pl.LazyFrame, corpus: CorpusConfig) -> dict[str, list[str]]:
    columns = corpus.columns
    lists = {name: train.select(entry=f"{TOKEN_COLUMN}{name}").explode("entry") for name in columns.per_token}
    singles = {name: train.select(entry=f"{SEQUENCE_COLUMN}{name}") for name in columns.per_sequence}
    return {name: ranked_values(values) for name, values in (lists | singles).items()}


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


def _build_vocab(train: pl.LazyFrame, config: EncodeConfig, is_text: bool) -> Vocab:
    labels = train.select(pl.col("labels").alias("label")).explode("label")
    if not is_text:
        return Vocab.build(pl.LazyFrame(schema={"token": pl.String}), labels, config)
    words = _words(train)
    return replace(Vocab.build(words, labels, config), contractions=find_contractions(words))


def _words(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Give a row per word: `token`, and `written`, which only some corpora have."""
    written = pl.coalesce("written", pl.lit(None, pl.String).repeat_by(pl.col("tokens").list.len()))
    return frame.select(token="tokens", written=written).explode("token", "written")


def _write_forms(frames: dict[str, pl.LazyFrame], vocab: Vocab, out_dir: Path) -> pl.DataFrame:
    """Number the distinct word forms of all splits, in order of text, and write what the network reads of them."""
    every = pl.concat([frame.select(pl.col("tokens").alias("form")).explode("form") for frame in frames.values()])
    forms = every.unique().sort("form").collect(engine="streaming").with_row_index("index")
    encoded = vocab.encode_forms(forms["form"])
    (out_dir / "forms").mkdir()
    for name, array in vars(encoded).items():
        np.save(out_dir / "forms" / f"{name}.npy", array)
    return forms


def _write_split(frame: pl.LazyFrame, vocab: Vocab, forms: pl.DataFrame | None, out_dir: Path) -> int:
    """Write one split; returns the numbers per step of a numeric corpus, 0 for text."""
    out_dir.mkdir()
    column = "tokens" if forms is not None else "values"
    lengths = frame.select(pl.col(column).list.len().cast(pl.Int64)).collect().to_series().to_numpy()
    np.save(out_dir / "offsets.npy", np.concatenate([[0], lengths.cumsum()]).astype(np.int64))
    labels = frame.select("labels").explode("labels").collect().to_series()
    np.save(out_dir / "labels.npy", vocab.encode_labels(labels))
    _write_further(frame, vocab, out_dir)
    if forms is not None:
        tokens = frame.select(pl.col("tokens").alias("form")).explode("form")
        joined = tokens.join(forms.lazy(), on="form", how="left", maintain_order="left").collect()
        np.save(out_dir / "tokens.npy", joined["index"].to_numpy().astype(np.int32))
        return 0
    steps = frame.select("values").explode("values").collect().to_series()
    values = np.stack(steps.to_list()).astype(np.float32)
    np.save(out_dir / "values.npy", values)
    return int(values.shape[1])


def _write_further(frame: pl.LazyFrame, vocab: Vocab, out_dir: Path) -> None:
    """Write the further columns of one split."""
    for prefix, folder in ((TOKEN_COLUMN, "per_token"), (SEQUENCE_COLUMN, "per_sequence")):
        (out_dir / folder).mkdir()
        for column in frame.collect_schema().names():
            if column.startswith(prefix):
                name = column.removeprefix(prefix)
                entries = frame.select(entry=column)
                values = (entries.explode("entry") if prefix == TOKEN_COLUMN else entries).collect().to_series()
                np.save(out_dir / folder / f"{name}.npy", vocab.encode_column(name, values))


def _open_vectors(config: VectorsConfig, folder: Path) -> VectorTable:
    return VECTOR_READERS[config.format](folder, config.file, config.index)


def _write_vectors(table: VectorTable, vocab: Vocab, frames: dict[str, pl.LazyFrame], out_dir: Path) -> dict[str, float]:
    """Write the vectors of a vocabulary's words; returns the coverage of every split."""
    index = table.words.to_frame().with_row_index("row")
    np.save(out_dir / "vectors.npy", _rows_for(vocab.words, table, index))
    return {split: _coverage(frame, vocab, index) for split, frame in frames.items()}


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


def _coverage(frame: pl.LazyFrame, vocab: Vocab, index: pl.DataFrame) -> float:
    """Give the share of a split's words, repeats counted, whose row of the word table came from the vectors."""
    words = frame.select(pl.col("tokens").alias("word")).explode("word")
    if vocab.lowercase:
        words = words.select(pl.col("word").str.to_lowercase())
    covered = pl.Series(list(vocab.words)).to_frame("word").join(index, on="word", how="semi")["word"]
    return round(float(words.select(pl.col("word").is_in(covered.implode()).mean()).collect().item()), 4)
