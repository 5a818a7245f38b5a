"""What a training depends on, as plain data that is sent to its workers, and whether its params fit its corpus.

Nothing here imports torch: a person's mistake is told before anything is started.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from models.config import ModelConfig, Setting, Sizes
from pipeline.config import ScalingConfig, TrainConfig
from pipeline.digest import file_sha256
from pipeline.errors import ParamsError
from pipeline.examples import Examples
from pipeline.layout import Layout
from pipeline.spans import BioLabels


@dataclass(frozen=True)
class Job:
    """All that a training depends on, and where its files are. Paths are absolute: workers run in folders of their own."""

    model: ModelConfig
    train: TrainConfig
    encoded_dir: Path
    checkpoint_dir: Path
    num_threads: int = 1

    @property
    def final_dir(self) -> Path:
        """Where the finished training leaves its weights."""
        return self.checkpoint_dir / "final"

    @property
    def messages_path(self) -> Path:
        """Where the first process tells its steps and epochs, a line of JSON each."""
        return self.checkpoint_dir / "messages.jsonl"


def make_job(model: ModelConfig, train: TrainConfig, scaling: ScalingConfig, layout: Layout) -> Job:
    """Describe a training; its checkpoints' folder is named by a hash of the params and of the encoded corpus.

    Raises:
        ParamsError: the params do not fit the encoded corpus.
    """
    check_fit(model, train, layout)
    files = [path for path in sorted(layout.encoded_dir.rglob("*")) if path.is_file()]
    encoded = {path.relative_to(layout.encoded_dir).as_posix(): file_sha256(path) for path in files}
    key = hashlib.sha256(json.dumps([asdict(model), asdict(train), encoded], sort_keys=True).encode()).hexdigest()[:12]
    return Job(
        model,
        train,
        layout.encoded_dir.resolve(),
        (layout.checkpoint_dir / key).resolve(),
        scaling.cpus_per_worker,
    )


def check_fit(model: ModelConfig, train: TrainConfig, layout: Layout) -> None:
    """Hold what params.yaml says against the encoded corpus, before anything is started.

    Raises:
        ParamsError: words are not as wide as the pre-trained vectors, or labels are not BIO though `bio` or `monitor` says so.
    """
    where = f"params.yaml: pipelines.{layout.pipeline}"
    vectors_path = layout.encoded_dir / "vectors.npy"
    width = np.load(vectors_path, mmap_mode="r").shape[1] if vectors_path.exists() else None
    if width is not None and model.word_size not in (0, width):
        raise ParamsError(
            f"{where}.model.word_size is {model.word_size}; the vectors have {width} numbers; fix: set it to {width}"
        )
    if model.bio or train.monitor == "entity_f1":
        key = "model.bio" if model.bio else "train.monitor: entity_f1"
        from pipeline.vocab import Vocab

        labels = Vocab.load(layout.encoded_dir / "vocab.json").labels
        bio = BioLabels.of(labels)
        if bio is None:
            raise ParamsError(
                f"{where}.{key} is for labels O, B-x, I-x; the corpus has {', '.join(labels[:8])}; fix: leave it out"
            )
        examples = Examples.open(layout.encoded_dir, "train")
        assert examples.labels is not None
        if model.bio and bio.has_stray_inside(examples.labels, examples.offsets):
            raise ParamsError(
                f"{where}.model.bio forbids I-x after all but B-x and I-x; train has such labels; fix: leave it out"
            )


def setting_of(encoded_dir: Path) -> Setting:
    """Say what a network for an encoded corpus is for."""
    sizes = Sizes.load(json.loads((encoded_dir / "summary.json").read_text(encoding="utf-8"))["sizes"])
    sequence_targets = tuple(name for name, target in sizes.targets.items() if target.task == "classification")
    return Setting(sizes.task, bool(sizes.vector_size), (encoded_dir / "vectors.npy").exists(), sequence_targets)
