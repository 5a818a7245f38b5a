"""A pipeline's way in a folder of its own, `.unroll/run/<pipeline>`: nothing of it is in `data/` or in the real MLflow store.

The corpus as it was fetched is not doubled: where DVC has fetched it into `data/`, it is linked.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.config import Catalogue, CorpusConfig, PipelineConfig, ScalingConfig, Source, VectorsConfig
from pipeline.layout import WORK_DIR, Layout

LOCK_FILE = Path("dvc.lock")
_FETCHED = "fetched.json"
"""What the scratch folder's own raw files are, beside them."""


@dataclass(frozen=True)
class Work:
    """All that the stages of one pipeline are given.

    Attributes:
        params: of the pipeline.
        scaling: where training runs.
        corpus: what corpora.yaml says of it.
        vectors: name and entry of its pre-trained vectors.
        layout: where its files go.
        num_examples: of a split at most; None takes all.
    """

    params: PipelineConfig
    scaling: ScalingConfig
    corpus: CorpusConfig
    vectors: tuple[str, VectorsConfig] | None
    layout: Layout
    num_examples: int | None = None

    @classmethod
    def of(cls, name: str, params: PipelineConfig, scaling: ScalingConfig, catalogue: Catalogue) -> "Work":
        """Describe the work of a pipeline in its scratch folder."""
        vectors = (params.vectors, catalogue.vectors[params.vectors]) if params.vectors else None
        root = scratch_dir(name)
        return cls(params, scaling, catalogue.corpora[params.corpus], vectors, Layout(name, root / "data", root))

    @property
    def sources(self) -> list[Source]:
        """Where its files come from."""
        return [self.corpus.source] + ([] if self.vectors is None else [self.vectors[1].source])

    @property
    def raw_files(self) -> list[str]:
        """Files that fetch brings and the stages after it read."""
        vectors = [] if self.vectors is None else [self.vectors[1].file, self.vectors[1].index]
        return [*self.corpus.splits.values(), *(f"vectors/{name}" for name in vectors if name is not None)]


def scratch_dir(name: str) -> Path:
    """Give a pipeline's scratch folder."""
    return WORK_DIR / "run" / name


def use_own_store(work: Work) -> None:
    """Have this process track in a store of the scratch folder, whatever `MLFLOW_TRACKING_URI` said."""
    root = work.layout.work_dir.resolve()
    root.mkdir(parents=True, exist_ok=True)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{root / 'mlflow.db'}"


def find_raw(work: Work, lock_path: Path = LOCK_FILE) -> Path | None:
    """Give the folder of raw files that is here already; None where they are to be fetched.

    It is that in `data/` where DVC fetched it from the same source, else the scratch folder's own.
    """
    real = Layout(work.layout.pipeline).raw_dir
    if _is_there(real, work) and _locked(work.layout.pipeline, lock_path) == _sources(work):
        return real
    own, note = work.layout.raw_dir, work.layout.work_dir / _FETCHED
    is_own = _is_there(own, work) and not own.is_symlink() and note.is_file()
    return own if is_own and json.loads(note.read_text(encoding="utf-8")) == _sources(work) else None


def link_raw(raw_dir: Path, work: Work) -> None:
    """Link a folder of raw files into the scratch folder."""
    if raw_dir != work.layout.raw_dir:
        clear_raw(work)
        work.layout.raw_dir.symlink_to(raw_dir.resolve(), target_is_directory=True)


def clear_raw(work: Work) -> None:
    """Make room for other raw files; what a link leads to stays."""
    own = work.layout.raw_dir
    if own.is_symlink():
        own.unlink()
    elif own.exists():
        shutil.rmtree(own)
    own.parent.mkdir(parents=True, exist_ok=True)


def note_raw(work: Work) -> None:
    """Note what the scratch folder's own raw files are."""
    (work.layout.work_dir / _FETCHED).write_text(json.dumps(_sources(work)), encoding="utf-8")


def _is_there(raw_dir: Path, work: Work) -> bool:
    return all((raw_dir / name).is_file() for name in work.raw_files)


def _sources(work: Work) -> list[Any]:
    return [work.params.corpus, work.params.vectors, *json.loads(json.dumps([asdict(source) for source in work.sources]))]


def _locked(name: str, lock_path: Path) -> list[Any] | None:
    """Give what DVC fetched last for a pipeline, as `_sources` gives it; None where it fetched nothing."""
    if not lock_path.is_file():
        return None
    from ruamel.yaml import YAML

    stages = YAML(typ="safe").load(lock_path.read_text(encoding="utf-8")).get("stages", {})
    locked = stages.get(f"fetch@{name}", {}).get("params", {})
    try:
        params, entries = locked["params.yaml"], locked["corpora.yaml"]
        corpus, vectors = (params[f"pipelines.{name}.{key}"] for key in ("corpus", "vectors"))
        return [
            corpus,
            vectors,
            entries[f"corpora.{corpus}"]["source"],
            *([] if vectors is None else [entries["vectors"][vectors]["source"]]),
        ]
    except KeyError:
        return None
