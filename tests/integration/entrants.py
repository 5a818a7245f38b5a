"""Models whose scores are known, since each says one label whatever it is asked, as the stages before register leave them.

Label `A` is the most frequent in the test split and `J` the least; on words that train lacks it is the other way round.
"""

import json
from dataclasses import asdict
from pathlib import Path

import polars as pl
import torch

from models.config import ModelConfig, Sizes
from models.network import build_network
from pipeline import register, tracking
from pipeline.checkpoint import save_checkpoint
from pipeline.config import CorpusConfig, EncodeConfig, PathSource, PipelineConfig, RegisterConfig, SplitConfig, TrainConfig
from pipeline.gate import Exam
from pipeline.labeler import Labeler
from pipeline.layout import Layout
from pipeline.manifest import write_manifest
from pipeline.vocab import RESERVED, Vocab

LABELS = "ABCDEFGHIJ"
MODEL = ModelConfig(word_size=2, char_hidden=0, hidden=(1,), bidirectional=False, input_dropout=0.0, dropout=0.0)
CORPUS = CorpusConfig("tagging", "conllu", "none", "ours", PathSource("path", "drawn.conllu"), {"all": "drawn.conllu"})
PARAMS = PipelineConfig("drawn", None, SplitConfig(), EncodeConfig(), MODEL, TrainConfig(), RegisterConfig())
VOCAB = Vocab((*RESERVED, "old"), RESERVED, tuple(LABELS), lowercase=True, max_word_length=9, contractions={}, columns={})


def score_of(label):
    return (20 - LABELS.index(label)) / 155


def unknown_score_of(label):
    return LABELS.index(label) / 45


def make_entrant(folder: Path, label: str, name: str = "toy") -> Layout:
    """Leave in a folder what register finds of a model that says one label, with a run of its own."""
    layout = Layout(name, folder / "data", folder / ".unroll")
    layout.report_dir.mkdir(parents=True)
    _write_prepared(layout.prepared_dir)
    layout.encoded_dir.mkdir()
    VOCAB.save(layout.encoded_dir / "vocab.json")
    write_manifest(layout.encoded_dir)
    tracked = tracking.Run.start(name, label, {}, {})
    _write_model(layout, label, tracked.run_id)
    scores = Exam.read(layout.prepared_dir, "tagging").ask(Labeler.load(layout.model_dir)).scores
    metrics = {f"test/{key}": value for key, value in scores.items()}
    (layout.report_dir / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    (layout.report_dir / "run.json").write_text(json.dumps({"run_id": tracked.run_id}), encoding="utf-8")
    return layout


def register_entrant(layout: Layout, **demands) -> dict:
    """Register it, as the command does; gives its registry.json."""
    register.run(CORPUS, RegisterConfig(parity_batches=5, **demands), layout, corpus_name="drawn", params=PARAMS)
    return json.loads(layout.registry_path.read_text(encoding="utf-8"))


def _write_prepared(folder: Path) -> None:
    folder.mkdir()
    known = [[("old", label)] * (20 - 2 * i) for i, label in enumerate(LABELS)]
    unknown = [[("new", label)] * i for i, label in enumerate(LABELS) if i]
    sentences = {"train": [[("old", label) for label in LABELS]], "val": [], "test": known + unknown}
    schema = {"tokens": pl.List(pl.String), "values": pl.List(pl.List(pl.Float32)), "labels": pl.List(pl.String)}
    for split, rows in sentences.items():
        tokens, labels = ([[pair[i] for pair in row] for row in rows] for i in (0, 1))
        frame = pl.DataFrame({"tokens": tokens, "values": [None] * len(rows), "labels": labels}, schema=schema)
        frame.write_parquet(folder / f"{split}.parquet")


def _write_model(layout: Layout, label: str, run_id: str) -> None:
    sizes = Sizes("tagging", len(VOCAB.words), len(VOCAB.chars), len(VOCAB.labels), features={"capitalisation": 7})
    network = build_network(MODEL, sizes, seed=1)
    tensors = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
    tensors["heads.0.output.bias"] = torch.tensor([float(label == other) for other in LABELS])
    meta = {"model": asdict(MODEL), "train": asdict(TrainConfig()), "sizes": asdict(sizes), "run_id": run_id}
    meta |= {"max_length": None, "truncating": None, "num_parameters": 1}
    save_checkpoint(layout.model_dir, tensors, meta, layout.encoded_dir / "vocab.json")
