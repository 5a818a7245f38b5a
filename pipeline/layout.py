"""Where one pipeline keeps what: the folders of `data/<pipeline>/`, each written by one stage, and its checkpoints."""

from dataclasses import dataclass
from pathlib import Path

DATA_DIR = Path("data")
WORK_DIR = Path(".unroll")


@dataclass(frozen=True)
class Layout:
    """The paths of one pipeline.

    Attributes:
        pipeline: its name in params.yaml.
        data_dir: what DVC owns; one folder per pipeline in it.
        work_dir: what lives outside DVC's outputs, which DVC deletes before a stage runs.
    """

    pipeline: str
    data_dir: Path = DATA_DIR
    work_dir: Path = WORK_DIR

    @property
    def raw_dir(self) -> Path:
        """Files as they came, written by fetch."""
        return self.data_dir / self.pipeline / "raw"

    @property
    def prepared_dir(self) -> Path:
        """train, val, test.parquet in one schema, written by prepare."""
        return self.data_dir / self.pipeline / "prepared"

    @property
    def flaws_path(self) -> Path:
        """What is suspicious in the splits, a list in JSON, written by prepare beside them."""
        return self.prepared_dir / "flaws.json"

    @property
    def encoded_dir(self) -> Path:
        """Ids, vocabularies and vectors, written by encode."""
        return self.data_dir / self.pipeline / "encoded"

    @property
    def model_dir(self) -> Path:
        """Weights, configuration, vocabularies and the run's id, written by train."""
        return self.data_dir / self.pipeline / "model"

    @property
    def report_dir(self) -> Path:
        """Scores and pictures, written by evaluate."""
        return self.data_dir / self.pipeline / "report"

    @property
    def registry_path(self) -> Path:
        """The registered version, written by register."""
        return self.data_dir / self.pipeline / "registry.json"

    @property
    def checkpoint_dir(self) -> Path:
        """A folder per training that has not ended."""
        return self.work_dir / "checkpoints" / self.pipeline
