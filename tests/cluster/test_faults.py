"""A training that is killed, stopped, hung, starved of disk or memory, and what comes of it: the weights of an unbroken one.

Each test runs `unroll train` as a person does, on a Ray of its own with two workers. `UNROLL_KILLS` says how many are killed.
"""

import hashlib
import json
import os
import signal
import time

import numpy as np
import psutil
import pytest
from project import Project

KILLS = int(os.environ.get("UNROLL_KILLS", "20"))
EPOCHS, STEPS = max(3, KILLS // 28), 35  # each kill at a step of its own
SECONDS = 120 + 30 * KILLS


def make(folder, *, num_workers=2, **train):
    scaling = {"max_failures": KILLS + 5, "hang_seconds": 5}
    project = Project(folder, num_workers=num_workers, scaling=scaling, **{"epochs": EPOCHS, "checkpoint_steps": 5, **train})
    project.stages("fetch", "prepare", "encode")
    return project


def finish(process, seconds=SECONDS):
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def weights_of(project):
    return hashlib.sha256((project.folder / "data/toy/model/tensors.safetensors").read_bytes()).hexdigest()


def curve_of(project):
    return [
        {key: row[key] for key in ("train/loss", "val/loss", "val/accuracy", "lr")}
        for row in project.json("model/meta.json")["history"]
    ]


def with_failpoints(project, *points):
    return {"UNROLL_FAILPOINTS": "; ".join(points), "UNROLL_FAILPOINTS_LOG": str(project.folder / "failpoints.log")}


def struck(project):
    path = project.folder / "failpoints.log"
    return path.read_text().splitlines() if path.exists() else []


def wait_until(claim, seconds=60):
    end = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < end
        time.sleep(0.05)


def checkpoints_of(project):
    return sorted(path.name for path in project.folder.glob(".unroll/checkpoints/toy/*/step-*"))


def children_of(process):
    return psutil.Process(process.pid).children(recursive=True)


def assert_no_orphans(children):
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    project = make(tmp_path_factory.mktemp("unbroken"))
    project.stages("train")
    assert len(curve_of(project)) == EPOCHS
    return project


def assert_as_unbroken(project, unbroken):
    assert curve_of(project) == curve_of(unbroken)
    assert weights_of(project) == weights_of(unbroken)
    run_id = project.json("model/meta.json")["run_id"]
    status, steps = project.metric_steps(run_id, "train/loss")
    assert status == "FINISHED" and sorted(steps) == list(
        range(1, EPOCHS + 1)
    )  # one that was lost on its way is tracked at the end


def test_workers_killed_at_random_steps_change_nothing(unbroken, tmp_path):
    project = make(tmp_path)
    rng = np.random.default_rng(3)
    steps = sorted(rng.choice(EPOCHS * STEPS, KILLS, replace=False))
    points = [f"worker {rng.integers(2)}, step {step}=kill" for step in steps]
    status, _, err = finish(project.start("train", "-p", "toy", environment=with_failpoints(project, *points)))
    assert status == 0, err
    assert sorted(struck(project)) == sorted(points)
    assert "was killed, or its machine was lost" in " ".join(err.split())
    assert_as_unbroken(project, unbroken)


@pytest.mark.parametrize(
    ("number", "status", "says"), [(signal.SIGINT, 130, "run it again to go on"), (signal.SIGTERM, 143, "run it again to go on")]
)
def test_a_signal_lets_the_step_end_saves_and_marks_the_run_killed(unbroken, tmp_path, number, status, says):
    project = make(tmp_path, checkpoint_steps=None)
    process = project.start("train", "-p", "toy", environment=with_failpoints(project, "worker 0, step 70=stop"))
    wait_until(lambda: struck(project))
    children = children_of(process)
    worker = next(child for child in children if child.status() == psutil.STATUS_STOPPED)
    process.send_signal(number)
    time.sleep(0.5)
    worker.resume()
    begun = time.monotonic()
    found, _, err = finish(process)
    assert found == status and says in err and time.monotonic() - begun < 10
    assert_no_orphans(children)
    assert checkpoints_of(project)[-1] > "step-00001-0000000"
    client = project.client()
    run_id = json.loads(next(project.folder.glob(".unroll/checkpoints/toy/*/run.json")).read_text())["run_id"]
    assert client.get_run(run_id).info.status == "KILLED"
    project.stages("train")
    assert project.json("model/meta.json")["run_id"] == run_id
    assert_as_unbroken(project, unbroken)


def test_a_second_signal_ends_all_at_once(tmp_path):
    project = make(tmp_path)
    process = project.start("train", "-p", "toy", environment=with_failpoints(project, "worker 0, step 70=stop"))
    wait_until(lambda: struck(project))
    children = children_of(process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    status, _, err = finish(process)
    assert status == 130 and "stopped at once" in err and time.monotonic() - begun < 10
    assert_no_orphans(children)


def test_a_worker_that_hangs_is_named_and_all_start_again(unbroken, tmp_path):
    project = make(tmp_path)
    status, _, err = finish(project.start("train", "-p", "toy", environment=with_failpoints(project, "worker 1, step 40=stop")))
    assert status == 0, err
    assert "worker 1 did not answer worker 0 for 5 s" in " ".join(err.split())
    assert_as_unbroken(project, unbroken)


def test_a_full_disk_ends_it_with_the_path_and_it_goes_on_when_there_is_room(unbroken, tmp_path):
    project = make(tmp_path)
    full = with_failpoints(project, "checkpoint: tensors written@9=fill the disk")
    status, _, err = finish(project.start("train", "-p", "toy", environment=full))
    assert status == 6 and "can not be written; No space left on device" in err and "MB free; fix:" in err
    assert len(checkpoints_of(project)) == 2 and not list(project.folder.glob(".unroll/checkpoints/toy/*/*.partial"))
    project.stages("train")
    assert_as_unbroken(project, unbroken)


def change_workers(project, before, after):
    """Train with one number of workers, stop in mid-epoch, and go on with another."""
    process = project.start("train", "-p", "toy", environment=with_failpoints(project, "worker 0, step 70=stop"))
    wait_until(lambda: struck(project))
    worker = next(child for child in children_of(process) if child.status() == psutil.STATUS_STOPPED)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    worker.resume()
    assert finish(process)[0] == 130 and checkpoints_of(project)[-1] > "step-00001-0000000"
    params = project.folder / "params.yaml"
    params.write_text(params.read_text().replace(f"num_workers: {before}", f"num_workers: {after}"))
    project.stages("train")


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_another_number_of_workers_goes_on_in_mid_epoch(unbroken, tmp_path, before, after):
    project = make(tmp_path, num_workers=before, checkpoint_steps=None)
    change_workers(project, before, after)
    for ours, theirs in zip(curve_of(project), curve_of(unbroken), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9)


def test_another_number_of_workers_that_reads_the_same_parts_in_float32_changes_no_bit(tmp_path):
    whole, project = (
        make(tmp_path / name, num_workers=1, accumulate=2, precision="float32", checkpoint_steps=None)
        for name in ("whole", "changed")
    )
    whole.stages("train")
    change_workers(project, 1, 2)
    assert weights_of(project) == weights_of(whole)


def test_a_loss_that_is_no_number_keeps_its_examples_and_names_the_last_checkpoint(tmp_path):
    project = make(tmp_path, lr=1e308, warmup=0.0, average=0.0)
    status, _, err = finish(project.start("train", "-p", "toy"))
    assert status == 5 and "the loss is" in err and "examples [" in err and "the last good checkpoint is" in err
    kept = next(project.folder.glob(".unroll/checkpoints/toy/*/diverged"))
    assert {"tensors.safetensors", "meta.json", "manifest.json"} == {path.name for path in kept.iterdir()}
    assert str(len(json.loads((kept / "meta.json").read_text())["examples"])) in err


def test_memory_that_runs_out_once_is_told_and_changes_no_more_than_rounding(unbroken, tmp_path):
    project = make(tmp_path)
    out_of_memory = with_failpoints(project, "batch read@20=exhaust memory")
    status, _, err = finish(project.start("train", "-p", "toy", environment=out_of_memory))
    assert status == 0, err
    told = " ".join(err.split())
    assert "step 20: memory does not hold" in told and told.count("read again in 2 parts") in (1, 2)  # of each worker
    for ours, theirs in zip(curve_of(project), curve_of(unbroken), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9)


def test_memory_that_runs_out_twice_ends_with_the_example_and_the_params_to_change(tmp_path):
    project = make(tmp_path, batch_tokens=60)
    out_of_memory = with_failpoints(project, "batch read@20=exhaust memory", "batch read@21=exhaust memory")
    status, _, err = finish(project.start("train", "-p", "toy", environment=out_of_memory))
    assert status == 6
    assert "memory does not hold" in err and "is example" in err and "train.accumulate" in err and "encode.max_length" in err


def test_where_all_checkpoints_are_broken_it_says_so_and_begins_nothing(tmp_path):
    project = make(tmp_path)
    process = project.start(
        "train", "-p", "toy", environment=with_failpoints(project, "worker 0, step 30=stop"), start_new_session=True
    )
    wait_until(lambda: struck(project))
    children = children_of(process)
    for each in [process, *children]:
        each.kill()
    process.communicate()
    for path in project.folder.glob(".unroll/checkpoints/toy/*/step-*/tensors.safetensors"):
        path.write_bytes(path.read_bytes()[:-7])
    status, _, err = finish(project.start("train", "-p", "toy"))
    assert status == 4 and "none is what was written" in err and "fix:" in err
