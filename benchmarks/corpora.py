"""A scratch project with the corpora that are trained on, made once: encoded for us, as plain files for the others."""

import filecmp
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipeline.params import load_config

HERE = Path(__file__).parent


@dataclass(frozen=True)
class PlainFiles:
    """What plain_torch.py reads: CoNLL-U, or lines of label, TAB, words."""

    task: str
    train: Path
    val: Path
    test: Path

    def arguments(self) -> list[str]:
        return ["--task", self.task, *(f"--{split}={getattr(self, split).resolve()}" for split in ("train", "val", "test"))]


def make_project(folder: Path, params: Path = HERE / "params.yaml") -> dict[str, PlainFiles]:
    """Fetch, prepare and encode every pipeline of a params file that is not yet there; gives each one's plain files."""
    folder.mkdir(parents=True, exist_ok=True)
    for path, own in ((params, folder / "params.yaml"), (HERE.parent / "corpora.yaml", folder / "corpora.yaml")):
        if not own.exists() or not filecmp.cmp(path, own, shallow=False):
            shutil.copy(path, own)
            shutil.rmtree(folder / "data", ignore_errors=True)
    config, catalogue = load_config(folder / "params.yaml", folder / "corpora.yaml")
    files = {}
    for name, pipeline in config.pipelines.items():
        if not (folder / "data" / name / "encoded" / "summary.json").exists():
            for stage in ("fetch", "prepare", "encode"):
                subprocess.run([sys.executable, "-m", "pipeline", stage, "-p", name], cwd=folder, check=True)
        files[name] = _plain_files(folder / "data" / name, catalogue.corpora[pipeline.corpus])
    return files


def _plain_files(folder: Path, corpus) -> PlainFiles:
    if corpus.task == "tagging":
        return PlainFiles(corpus.task, *(folder / "raw" / corpus.splits[split] for split in ("train", "val", "test")))
    paths = [folder / "plain" / f"{split}.txt" for split in ("train", "val", "test")]
    for path in paths:
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            frame = pl.read_parquet(folder / "prepared" / f"{path.stem}.parquet")
            lines = frame.select(pl.col("labels").list.first() + "\t" + pl.col("tokens").list.join(" ")).to_series()
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return PlainFiles(corpus.task, *paths)
