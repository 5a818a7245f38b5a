"""A folder labelled on a cluster of two nodes on this machine: the bytes are those of one machine, also after a loss."""

import os
import subprocess
import sys
import time

import pytest
from project import ROOT
from test_files import draw_texts, make_model, write_rows, write_texts

from pipeline.nodes import nodes

pytestmark = [  # Ray leaves its nodes' logs open
    pytest.mark.filterwarnings("ignore:unclosed file"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def cluster():
    with nodes(num_nodes=2, cpus_per_node=1) as running:
        yield running


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a model, shards of three formats, and what one machine makes of them."""
    folder = tmp_path_factory.mktemp("work")
    make_model(folder)
    shards = folder / "shards"
    shards.mkdir()
    for number in range(5):
        write_texts(shards, draw_texts(20 + number, 100), f"{number}.txt")
    write_rows(shards, tokens=[["um", "dois"]] * 9)
    word = "\tum\t_\t_\t_\t_\t_\t_\t_\t_\n"
    (shards / "in.conllu").write_text(f"1{word}2{word}\n")
    assert predict(folder, "alone").wait() == 0
    return folder


def predict(folder, out, **environment):
    own = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", "predict", "shards", "--out", out, "--model", "model"],
        cwd=folder,
        env={**own, "PYTHONPATH": str(ROOT), **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def assert_as_alone(work, out):
    assert files_of(work / out) == files_of(work / "alone")


def test_a_cluster_writes_what_one_machine_does(cluster, work):
    run = predict(work, "out", RAY_ADDRESS=cluster.address)
    _, err = run.communicate(timeout=200)
    assert run.returncode == 0 and not err
    assert_as_alone(work, "out")


def test_a_driver_that_was_killed_goes_on_with_the_shards_that_are_left(cluster, work):
    run = predict(work, "killed", RAY_ADDRESS=cluster.address)
    deadline = time.monotonic() + 200
    while not any((work / "killed").glob("*.txt")):
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    run.kill()
    run.communicate()
    done = {path: path.stat().st_mtime_ns for path in (work / "killed").glob("*.txt")}
    run = predict(work, "killed", RAY_ADDRESS=cluster.address)
    _, err = run.communicate(timeout=200)
    assert run.returncode == 0, err
    assert_as_alone(work, "killed")
    assert done == {path: path.stat().st_mtime_ns for path in done}


def test_a_malformed_shard_is_named(cluster, work, tmp_path):
    (tmp_path / "model").symlink_to(work / "model")
    (tmp_path / "shards").mkdir()
    write_texts(tmp_path / "shards", ["um dois"], "a.txt")
    (tmp_path / "shards" / "b.txt").write_bytes(b"um\n\xff\n")
    run = predict(tmp_path, "out", RAY_ADDRESS=cluster.address)
    _, err = run.communicate(timeout=200)
    assert run.returncode == 3 and "b.txt:2:1: holds the byte 0xff" in err
