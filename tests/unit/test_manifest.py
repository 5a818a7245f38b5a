"""What encode wrote and what is there now: every byte that differs is found before anything is read as data."""

import json
import re
import shutil

import numpy as np
import polars as pl
import pytest

from models.config import ModelConfig
from pipeline import encode
from pipeline.config import Columns, CorpusConfig, EncodeConfig, PathSource, ScalingConfig, TrainConfig
from pipeline.digest import file_sha256
from pipeline.errors import IntegrityError
from pipeline.job import make_job
from pipeline.layout import Layout
from pipeline.manifest import MANIFEST, check_manifest, write_manifest
from pipeline.reading import EXAMPLE_SCHEMA


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """An encoded corpus with a further column, as encode writes it."""
    folder = tmp_path_factory.mktemp("written")
    layout = Layout("tiny", folder / "data", folder / "work")
    layout.prepared_dir.mkdir(parents=True)
    rows = {"id": ["1", "2"], "tokens": [["a", "b", "a"], ["c"]], "labels": [["X", "Y", "X"], ["Y"]]}
    columns = {name: rows.get(name, [None, None]) for name in EXAMPLE_SCHEMA} | {"token:tag": [["p", "q", "p"], ["q"]]}
    for split in encode.SPLITS:
        pl.DataFrame(columns, schema_overrides=EXAMPLE_SCHEMA).write_parquet(layout.prepared_dir / f"{split}.parquet")
    own, further = PathSource("path", "."), Columns(per_token={"tag": "tag"})
    corpus = CorpusConfig("tagging", "jsonl", "en", "own", own, {"train": "t"}, further)  # type: ignore[arg-type]
    encode.run(corpus, EncodeConfig(), None, layout)
    return layout


@pytest.fixture
def layout(written, tmp_path):
    """A copy that a test may break."""
    shutil.copytree(written.data_dir, tmp_path / "data")
    return Layout("tiny", tmp_path / "data", tmp_path / "work")


def job_of(layout):
    return make_job(ModelConfig(), TrainConfig(), ScalingConfig(), layout)


def files_of(layout):
    return [path for path in sorted(layout.encoded_dir.rglob("*")) if path.is_file() and path.name != MANIFEST]


def refused(layout, path, expected):
    """Check that a training is refused for this file, with the hash it has and the one it should have."""
    found = file_sha256(path) if path.exists() else "nothing"
    says = f"{path}:1:1: is not what was written; sha256 {found}, expected {expected}; fix: run `unroll encode -p tiny` again"
    with pytest.raises(IntegrityError, match=f"^{re.escape(says)}$"):
        job_of(layout)


def test_what_encode_wrote_is_taken(layout):
    assert job_of(layout).encoded_dir == layout.encoded_dir
    assert "train/per_token/tag.npy" in json.loads((layout.encoded_dir / MANIFEST).read_text(encoding="utf-8"))


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_byte_is_found(layout, seed):
    rng = np.random.default_rng(seed)
    path = rng.choice(files_of(layout))
    expected, content = file_sha256(path), bytearray(path.read_bytes())
    content[rng.integers(len(content))] ^= rng.integers(1, 256)
    path.write_bytes(content)
    refused(layout, path, expected)


@pytest.mark.parametrize("seed", range(5))
def test_a_file_cut_short_is_found(layout, seed):
    rng = np.random.default_rng(seed)
    path = rng.choice(files_of(layout))
    expected, content = file_sha256(path), path.read_bytes()
    path.write_bytes(content[: rng.integers(len(content))])
    refused(layout, path, expected)


def test_a_missing_file_is_found(layout):
    path = layout.encoded_dir / "val" / "labels.npy"
    expected = file_sha256(path)
    path.unlink()
    refused(layout, path, expected)


def test_a_file_that_was_not_written_is_found(layout):
    path = layout.encoded_dir / "val" / "per_token" / "other.npy"
    path.write_bytes(b"other")
    refused(layout, path, "nothing")


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_byte_of_the_manifest_is_found(layout, seed):
    rng = np.random.default_rng(seed)
    path = layout.encoded_dir / MANIFEST
    content = bytearray(path.read_bytes())
    content[rng.integers(len(content))] ^= rng.integers(1, 256)
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=re.escape(str(layout.encoded_dir))):
        job_of(layout)


@pytest.mark.parametrize("content", [None, "", "[]", '{"vocab.json": '])
def test_a_folder_without_a_manifest_is_not_whole(layout, content):
    path = layout.encoded_dir / MANIFEST
    path.unlink() if content is None else path.write_text(content, encoding="utf-8")
    with pytest.raises(IntegrityError, match=rf"{MANIFEST}:1:1: can not be read; .*; fix: run `unroll encode -p tiny` again"):
        job_of(layout)


def test_a_training_is_the_same_however_its_manifest_is_laid_out(layout):
    path, before = layout.encoded_dir / MANIFEST, job_of(layout)
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=2), encoding="utf-8")
    assert job_of(layout) == before


def test_a_manifest_is_written_the_same_again(layout):
    path = layout.encoded_dir / MANIFEST
    before = path.read_bytes()
    write_manifest(layout.encoded_dir)
    assert path.read_bytes() == before


def test_the_hashes_are_given_by_path_from_the_folder(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c.txt").write_text("c")
    write_manifest(tmp_path)
    assert check_manifest(tmp_path, fix="write it again") == {"a/b/c.txt": file_sha256(tmp_path / "a" / "b" / "c.txt")}
