"""Where a model came from, as flat texts that its version carries: enough to find all it was made of, and to make it again."""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from pipeline import commits
from pipeline.config import CorpusConfig, PipelineConfig
from pipeline.digest import file_sha256
from pipeline.layout import Layout
from pipeline.manifest import check_manifest
from pipeline.masking import mask

WEIGHTS = "sha256_weights"
"""Tag: the hash of the file with the weights."""
FOLDERS = ("prepared", "encoded", "model")
"""Of a pipeline; each one's hash, as DVC counts it, is a tag such as `md5_prepared`."""
_PACKAGES = ("torch", "ray", "mlflow", "polars", "numpy", "safetensors", "onnxruntime")
_TENSORS = "tensors.safetensors"


def origin_tags(
    layout: Layout, *, corpus_name: str, corpus: CorpusConfig, params: PipelineConfig, meta: Mapping[str, Any], sweep: str | None
) -> dict[str, str]:
    """Tell where a pipeline's model came from.

    Args:
        layout: of the pipeline.
        corpus_name: in corpora.yaml.
        corpus: what stands there.
        params: of the pipeline.
        meta: of the model; its network and training stand for those of `params`, which a sweep changes.
        sweep: id of the run of the sweep that it came from.
    """
    sections = json.loads(json.dumps(asdict(replace(params, corpus=corpus_name)))) | {
        key: meta[key] for key in ("model", "train")
    }
    tags = {
        "git_commit": commits.current(),
        "corpus": corpus_name,
        "corpus_source": mask(json.dumps(asdict(corpus.source))),
        "params": json.dumps(sections),
        "environment": json.dumps(environment()),
        WEIGHTS: weights_sha256(layout.model_dir),
    }
    tags |= {f"sha256_{path.stem}": file_sha256(path) for path in sorted(layout.prepared_dir.glob("*.parquet"))}
    folders = {"prepared": layout.prepared_dir, "encoded": layout.encoded_dir, "model": layout.model_dir}
    tags |= {f"md5_{name}": folder_md5(folder) for name, folder in folders.items() if folder.is_dir()}
    return tags | ({} if sweep is None else {"sweep": sweep})


def weights_sha256(model_dir: Path) -> str:
    """Give the hash of a model's weights, as its manifest has it."""
    return check_manifest(model_dir)[_TENSORS]


def environment() -> dict[str, str]:
    """Name what the arithmetic of a training depends on: Python, packages, the processor and what torch uses of it."""
    packages = {name: version(name) for name in _PACKAGES}
    return {
        "python": platform.python_version(),
        **packages,
        "system": platform.platform(),
        "cpu": _cpu(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def folder_md5(folder: Path) -> str:
    """Hash a folder as DVC does, so that what it says in dvc.lock can be compared with it."""
    paths = sorted((path.relative_to(folder).parts, path) for path in folder.rglob("*") if path.is_file())
    rows = [{"md5": _file_md5(path), "relpath": "/".join(parts)} for parts, path in paths]
    return hashlib.md5(json.dumps(rows, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _file_md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
