import json
import pickle

import pytest
import torch

from pipeline.checkpoint import load_checkpoint, newest_checkpoint, prune_checkpoints, save_checkpoint
from pipeline.errors import IntegrityError


def _save(folder, value=1.0):
    save_checkpoint(folder, {"w": torch.full((3,), value)}, {"value": value})
    return folder


def test_what_is_saved_is_loaded(tmp_path):
    tensors, meta = load_checkpoint(_save(tmp_path / "step-1", 2.0))
    assert tensors["w"].tolist() == [2.0, 2.0, 2.0] and meta == {"value": 2.0}


def test_what_an_interrupted_writing_left_does_not_come_into_the_next(tmp_path):
    (tmp_path / "step-1.partial").mkdir()
    (tmp_path / "step-1.partial" / "half.safetensors").write_bytes(b"half")
    names = {path.name for path in _save(tmp_path / "step-1").iterdir()}
    assert names == {"tensors.safetensors", "meta.json", "manifest.json"}


@pytest.mark.parametrize("name", ["tensors.safetensors", "meta.json", "manifest.json"])
def test_one_flipped_byte_is_detected(tmp_path, name):
    path = _save(tmp_path / "step-1") / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(IntegrityError):
        load_checkpoint(tmp_path / "step-1")


def test_a_missing_file_is_detected(tmp_path):
    (_save(tmp_path / "step-1") / "meta.json").unlink()
    with pytest.raises(IntegrityError, match=r"meta\.json"):
        load_checkpoint(tmp_path / "step-1")


def test_a_broken_newest_checkpoint_is_passed_over_with_a_warning(tmp_path, caplog):
    _save(tmp_path / "step-1", 1.0)
    (_save(tmp_path / "step-2", 2.0) / "meta.json").write_text("{}", encoding="utf-8")
    _, meta = newest_checkpoint(tmp_path)
    assert meta == {"value": 1.0} and "step-2" in caplog.text


def test_a_half_written_checkpoint_is_never_loaded(tmp_path):
    _save(tmp_path / "step-2").rename(tmp_path / "step-2.partial")
    assert newest_checkpoint(tmp_path) is None


def test_pruning_keeps_the_newest_and_removes_what_was_half_written(tmp_path):
    for number in range(4):
        _save(tmp_path / f"step-{number}")
    (tmp_path / "step-9.partial").mkdir()
    prune_checkpoints(tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-2", "step-3"]


def test_a_pickle_in_place_of_the_tensors_is_refused_and_not_run(tmp_path):
    folder = _save(tmp_path / "step-1")
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self):
            return (canary.touch, ())

    (folder / "tensors.safetensors").write_bytes(pickle.dumps(Evil()))
    manifest = json.loads((folder / "manifest.json").read_text())
    with pytest.raises(IntegrityError):
        load_checkpoint(folder)
    assert manifest and not canary.exists()
