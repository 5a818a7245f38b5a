"""What a training depends on, as plain data that is sent to its workers, and whether its params fit its corpus.

Nothing here imports torch: a person's mistake is told before anything is started.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.config import ModelConfig
from pipeline.config import ScalingConfig, TrainConfig
from pipeline.errors import ParamsError
from pipeline.examples import Examples
from pipeline.layout import Layout
from pipeline.manifest import check_manifest
from pipeline.spans import BioLabels
from pipeline.storage import join
from pipeline.stored import open_array


@dataclass(frozen=True)
class Job:
    """All that a training depends on, and where its files are.

    Attributes:
        model, train: the params.
        key: a hash of the params and of the encoded corpus.
        encoded_dir: the corpus, on the machine that starts the training.
        encoded: its address, as workers see it.
        checkpoints: the address of the training's checkpoints.
        work_dir: for what passes between a machine's processes.
        num_threads: of each worker.
        hang_seconds: longest wait for a worker that does not answer.
    """

    model: ModelConfig
    train: TrainConfig
    key: str
    encoded_dir: Path
    encoded: str
    checkpoints: str
    work_dir: Path
    num_threads: int = 1
    hang_seconds: float = math.inf

    @property
    def params(self) -> dict[str, Any]:
        """Give the params as plain data, as JSON has them."""
        return json.loads(json.dumps({"model": asdict(self.model), "train": asdict(self.train)}))


FINAL = "final"
"""The name, among a training's checkpoints, of the weights that it ended with."""


def make_job(model: ModelConfig, train: TrainConfig, scaling: ScalingConfig, layout: Layout) -> Job:
    """Describe a training; its checkpoints' folder is named by a hash of the params and of the encoded corpus.

    Raises:
        IntegrityError: the encoded corpus is not what encode wrote.
        ParamsError: the params do not fit the encoded corpus.
    """
    encoded = check_manifest(layout.encoded_dir, fix=f"run `unroll encode -p {layout.pipeline}` again")
    check_fit(model, train, layout)
    key, encoded_dir = hash_of([asdict(model), asdict(train), encoded]), layout.encoded_dir.resolve()
    work_dir = (layout.checkpoint_dir / key).resolve()
    checkpoints, address = str(work_dir), str(encoded_dir)
    if scaling.storage is not None:
        storage = scaling.storage if "://" in scaling.storage else Path(scaling.storage).resolve()
        checkpoints = join(storage, "checkpoints", layout.pipeline, key)
        address = join(storage, "encoded", hash_of(encoded))
    return Job(model, train, key, encoded_dir, address, checkpoints, work_dir, scaling.cpus_per_worker, scaling.hang_seconds)


def hash_of(content: Any) -> str:
    """Give a short hash of plain data."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def check_fit(model: ModelConfig, train: TrainConfig, layout: Layout) -> None:
    """Hold what params.yaml says against the encoded corpus, before anything is started.

    Raises:
        ParamsError: words are not as wide as the pre-trained vectors, or labels are not BIO though `bio` or `monitor` says so.
    """
    where = f"params.yaml: pipelines.{layout.pipeline}"
    vectors_path = layout.encoded_dir / "vectors.npy"
    width = open_array(vectors_path).shape[1] if vectors_path.exists() else None
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
