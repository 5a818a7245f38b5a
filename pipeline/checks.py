"""What is wrong with params.yaml and corpora.yaml though each key by itself is right.

Names that lead elsewhere, options that do not go together, options that would do nothing.
"""

import difflib
import re
from collections.abc import Iterator
from typing import Any

from models.config import MAIN, ModelConfig, Setting, find_clashes, find_idle
from pipeline.config import (
    CAPITALISATION,
    WITH_SEQUENCE_COLUMNS,
    WITH_TOKEN_COLUMNS,
    Catalogue,
    Config,
    CorpusConfig,
    PipelineConfig,
    VectorsConfig,
)
from pipeline.places import Complaint, check_places, check_storage


def did_you_mean(word: str, options: list[str]) -> str:
    """Name the nearest option, or all of them where none is near."""
    near = difflib.get_close_matches(word, options, n=1)
    return f"did you mean {near[0]}?" if near else f"fix: use one of {', '.join(sorted(options))}"


def check_params(config: Config, catalogue: Catalogue, tree: Any) -> Iterator[Complaint]:
    """Check params.yaml against the catalogue.

    Args:
        config: what it says.
        catalogue: what corpora.yaml says.
        tree: params.yaml as it was written, which shows what was set and what was left out.
    """
    yield from check_storage(config.scaling)
    yield from check_names(catalogue, tree)
    for name in config.pipelines:
        yield from _check_pipeline(name, config, catalogue, tree)


def check_names(catalogue: Catalogue, tree: Any) -> Iterator[Complaint]:
    """Find what params.yaml names and corpora.yaml lacks, be the rest of params.yaml as wrong as it may."""
    pipelines = tree.get("pipelines") if isinstance(tree, dict) else None
    for name, pipeline in pipelines.items() if isinstance(pipelines, dict) else ():
        for key, known in {"corpus": list(catalogue.corpora), "vectors": list(catalogue.vectors)}.items():
            value = pipeline.get(key) if isinstance(pipeline, dict) else None
            if isinstance(value, str) and value not in known:
                hint = did_you_mean(value, known)
                yield Complaint(("pipelines", name, key), f"is {value!r}, which corpora.yaml does not have; {hint}")


def check_catalogue(catalogue: Catalogue) -> Iterator[Complaint]:
    """Check corpora.yaml."""
    for name, corpus in catalogue.corpora.items():
        at = ("corpora", name)
        yield from check_places(at, corpus.source, {("splits", part): file for part, file in corpus.splits.items()})
        yield from _check_corpus(name, corpus)
    for name, vectors in catalogue.vectors.items():
        files = {"file": vectors.file} | ({} if vectors.index is None else {"index": vectors.index})
        yield from check_places(("vectors", name), vectors.source, {(key,): file for key, file in files.items()})
        yield from _check_vectors(name, vectors)


def _check_pipeline(name: str, config: Config, catalogue: Catalogue, params: Any) -> Iterator[Complaint]:
    pipeline, at = config.pipelines[name], ("pipelines", name)
    if not name.replace("_", "").replace("-", "").isalnum():
        yield Complaint(at, "is no name for a model; fix: use letters, digits, - and _")
    if pipeline.split.val + pipeline.split.test >= 1:
        yield Complaint((*at, "split"), "leaves nothing to train on; fix: let val and test add up to less than 1")
    corpus = catalogue.corpora.get(pipeline.corpus)
    if corpus is None:
        return
    setting = setting_for(pipeline, corpus)
    for key, text in find_clashes(pipeline.model, setting):
        yield Complaint((*at, "model", key), text)
    yield from check_columns(pipeline.model, corpus, (*at, "model"))
    for key, why in find_idle(pipeline.model, setting):
        yield Complaint((*at, "model", key), f"would do nothing here; it is for {why}; fix: leave it out")
    tree = params["pipelines"][name]
    for number, check in enumerate(pipeline.register.checks, start=1):
        if (check.labels is not None) != (corpus.task == "tagging"):
            needs = "labels: [...]" if corpus.task == "tagging" else "label: ..."
            yield Complaint((*at, "register", "checks"), f"number {number} is for another task; fix: give its `{needs}`")
    for section, key, why in idle_elsewhere(pipeline, corpus):
        value = tree.get(section, {}).get(key) if section else tree.get(key)
        if value not in (None, 0, False):
            keys = (*at, section, key) if section else (*at, key)
            yield Complaint(keys, f"would do nothing here; it is for {why}; fix: leave it out")


def setting_for(pipeline: PipelineConfig, corpus: CorpusConfig) -> Setting:
    """Say what a pipeline's network is for."""
    return Setting(corpus.task, corpus.is_numeric, pipeline.vectors is not None, tuple(corpus.columns.per_sequence))


def check_columns(model: ModelConfig, corpus: CorpusConfig, at: tuple[str, ...]) -> Iterator[Complaint]:
    """Find features and heads that name no column of the corpus."""
    per_token = list(corpus.columns.per_token)
    known = {"features": [CAPITALISATION, *per_token], "heads": [*per_token, *corpus.columns.per_sequence]}
    for key, columns in known.items():
        for column in getattr(model, key):
            if column not in columns:
                has = f"the corpus has {', '.join(columns)}" if columns else "the corpus has none"
                yield Complaint((*at, key, column), f"names no further column; {has}; fix: name it in its `columns`")
    for column in set(model.features) & set(model.heads):
        yield Complaint((*at, "heads", column), "is a feature, too: the network would read what it is to find; fix: choose one")


def idle_elsewhere(pipeline: PipelineConfig, corpus: CorpusConfig) -> Iterator[tuple[str, str, str]]:
    """Name the keys of other sections than `model` that do nothing in a pipeline: section, key, what they are for."""
    model, is_tagging = pipeline.model, corpus.task == "tagging"
    reads_words = not corpus.is_numeric and model.word_size > 0
    reads_characters = not corpus.is_numeric and model.char_hidden != 0
    scores = {"train": ("monitor", pipeline.train.monitor), "register": ("metric", pipeline.register.metric)}
    rules: list[tuple[bool, str, tuple[str, ...], str]] = [
        (reads_words, "", ("vectors",), "word embeddings"),
        (reads_words, "encode", ("lowercase", "min_count", "max_words", "vector_words"), "word embeddings"),
        (reads_words, "train", ("word_dropout",), "word embeddings"),
        (reads_characters, "encode", ("max_word_length",), "characters"),
        (pipeline.vectors is not None or not reads_words, "encode", ("vector_words",), "pre-trained vectors"),
        (pipeline.encode.max_length is not None, "encode", ("truncating",), "sequences that are cut: set max_length"),
        (not is_tagging, "encode", ("max_length",), "classification"),
        (not model.crf, "train", ("label_smoothing",), "softmax"),
        *((part not in corpus.splits, "split", (part,), f"a corpus without a {part} part") for part in ("val", "test")),
        *((is_tagging or score != "entity_f1", at, (key,), "tagging") for at, (key, score) in scores.items()),
    ]
    for applies, section, keys, purpose in rules:
        for key in keys if not applies else ():
            yield section, key, purpose


def _check_corpus(name: str, corpus: CorpusConfig) -> Iterator[Complaint]:
    at = ("corpora", name)
    parts = set(corpus.splits)
    if parts != {"all"} and not {"train"} <= parts <= {"train", "val", "test"}:
        text = f"has {sorted(parts)}; fix: name `all` alone, or `train` with or without `val` and `test`"
        yield Complaint((*at, "splits"), text)
    columns = corpus.columns
    has_tokens = corpus.format in WITH_TOKEN_COLUMNS and corpus.task == "tagging" and not corpus.is_numeric
    if columns.per_token and not has_tokens:
        text = f"is for tagging in the formats {', '.join(WITH_TOKEN_COLUMNS)}; fix: leave it out"
        yield Complaint((*at, "columns", "per_token"), text)
    if columns.per_sequence and (corpus.format not in WITH_SEQUENCE_COLUMNS or corpus.is_numeric):
        text = f"is for the formats {', '.join(WITH_SEQUENCE_COLUMNS)}; fix: leave it out"
        yield Complaint((*at, "columns", "per_sequence"), text)
    names = [*columns.per_token, *columns.per_sequence]
    for key in names:
        is_taken = key in (MAIN, CAPITALISATION, "tokens", "words", "labels", "probability", "probabilities")
        if is_taken or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", key) or names.count(key) > 1:
            kind = "per_token" if key in columns.per_token else "per_sequence"
            text = "is no name for a further column, or one that is taken; fix: use letters, digits, - and _"
            yield Complaint((*at, "columns", kind, key), text)


def _check_vectors(name: str, vectors: VectorsConfig) -> Iterator[Complaint]:
    at = ("vectors", name)
    if vectors.format == "npy" and vectors.index is None:
        yield Complaint(at, "has no index; a .npy matrix does not hold its words; fix: name the .parquet file with them")
    if vectors.format != "npy" and vectors.index is not None:
        yield Complaint((*at, "index"), f"would do nothing here; {vectors.format} files hold their words; fix: leave it out")
