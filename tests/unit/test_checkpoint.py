import json
import pickle
import resource
from collections import Counter

import numpy as np
import pytest
import torch

from pipeline import failpoints
from pipeline.checkpoint import Checkpoints, load_checkpoint, newest_checkpoint, save_checkpoint
from pipeline.errors import InfrastructureError, IntegrityError
from pipeline.storage import DiskStore


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
    _, meta = newest_checkpoint(DiskStore(tmp_path))
    assert meta == {"value": 1.0} and "step-2" in caplog.text


def _broken(content, rng, is_cut):
    """Flip a byte, or cut the end off."""
    if is_cut:
        return content[: rng.integers(len(content))]
    changed = bytearray(content)
    changed[rng.integers(len(content))] ^= rng.integers(1, 256)
    return bytes(changed)


def test_of_200_flipped_bytes_and_20_cut_files_none_is_loaded_and_the_checkpoint_before_is(tmp_path, caplog):
    rng = np.random.default_rng(1)
    _save(tmp_path / "step-1", 1.0)
    files = sorted(_save(tmp_path / "step-2", 2.0).iterdir())
    for number in range(220):
        path = files[number % len(files)]
        whole = path.read_bytes()
        path.write_bytes(_broken(whole, rng, is_cut=number >= 200))
        caplog.clear()
        assert newest_checkpoint(DiskStore(tmp_path))[1] == {"value": 1.0} and "step-2" in caplog.text
        path.write_bytes(whole)
    assert newest_checkpoint(DiskStore(tmp_path))[1] == {"value": 2.0}


def test_where_all_checkpoints_are_broken_nothing_begins_anew_in_silence(tmp_path):
    for name in ("step-1", "step-2"):
        (_save(tmp_path / name) / "tensors.safetensors").write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"step-1, step-2: none is what was written.*fix:"):
        newest_checkpoint(DiskStore(tmp_path))


def test_a_half_written_checkpoint_is_never_loaded(tmp_path):
    _save(tmp_path / "step-2").rename(tmp_path / "step-2.partial")
    assert newest_checkpoint(DiskStore(tmp_path)) is None


def test_the_newest_steps_and_what_is_named_otherwise_stay_and_what_was_half_written_goes(tmp_path):
    checkpoints = Checkpoints(str(tmp_path), keep=2)
    checkpoints.save("final", {"w": torch.zeros(1)}, {})
    checkpoints.finish()
    (tmp_path / "step-9.partial").mkdir()
    for step in range(4):
        checkpoints.save(f"step-{step}", {"w": torch.zeros(1)}, {})
    checkpoints.finish()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["final", "step-2", "step-3"]
    assert checkpoints.last == str(tmp_path / "step-3")


def test_what_is_written_beside_a_training_is_as_it_was_when_it_was_saved(tmp_path):
    checkpoints, tensor, history = Checkpoints(str(tmp_path)), torch.zeros(1000, 1000), [1]
    checkpoints.save("step-1", {"w": tensor}, {"history": history})
    tensor.fill_(7)
    history.append(2)
    checkpoints.finish()
    tensors, meta = newest_checkpoint(DiskStore(tmp_path))
    assert not tensors["w"].any() and meta == {"history": [1]}


def test_a_full_disk_is_told_with_the_path_what_is_needed_and_what_is_free_and_old_files_stay(tmp_path, monkeypatch):
    checkpoints = Checkpoints(str(tmp_path))
    checkpoints.save("step-1", {"w": torch.zeros(1)}, {"step": 1})
    checkpoints.finish()
    monkeypatch.setenv("UNROLL_FAILPOINTS", "checkpoint: tensors written=fill the disk")
    monkeypatch.setattr(failpoints, "_passed", Counter())
    checkpoints.save("step-2", {"w": torch.zeros(1)}, {})
    with pytest.raises(InfrastructureError, match=r"step-2: can not be written; No space left.* needed, .* MB free; fix:"):
        checkpoints.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["step-1"]
    assert newest_checkpoint(DiskStore(tmp_path))[1] == {"step": 1}


def test_a_file_that_the_system_does_not_let_grow_is_told_as_a_disk_that_is_full_and_leaves_nothing(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(InfrastructureError, match=r"step-1: can not be written; File too large.*fix:"):
            save_checkpoint(tmp_path / "step-1", {"w": torch.zeros(100_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


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
