"""A cluster of several nodes on this machine, joined through RAY_ADDRESS as from a clean shell; nodes are lost and come back."""

import os
import signal
import subprocess
import sys
import time

import pytest
from project import ROOT
from ruamel.yaml import YAML
from test_faults import (
    assert_as_unbroken,
    checkpoints_of,
    curve_of,
    finish,
    make,
    unbroken,
    wait_until,
    with_failpoints,
)

from pipeline.nodes import client_address, nodes

__all__ = ["unbroken"]
pytestmark = [  # Ray leaves its nodes' logs open
    pytest.mark.filterwarnings("ignore:unclosed file"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def joining(cluster, **further):
    return {"RAY_ADDRESS": cluster.address, **further}


def set_scaling(project, **changes):
    path = project.folder / "params.yaml"
    params = YAML().load(path)
    params["scaling"].update(changes)
    YAML().dump(params, path)
    return project


@pytest.fixture
def cluster():
    before = dict(os.environ)
    with nodes(num_nodes=2, cpus_per_node=1) as running:
        yield running
    now = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    assert now == {name: before[name] for name in before if name != "PYTEST_CURRENT_TEST"}


@pytest.mark.parametrize("is_client", [False, True])
def test_a_clean_shell_joins_and_ends_with_the_weights_of_a_machines_own_ray(cluster, unbroken, tmp_path, is_client):
    project = make(tmp_path)
    address = client_address(cluster) if is_client else cluster.address
    shell = {name: os.environ[name] for name in ("PATH", "HOME")} | {"RAY_ADDRESS": address, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipeline", "train", "-p", "toy"]
    done = subprocess.run(command, cwd=project.folder, env=shell, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert_as_unbroken(project, unbroken)


def lose_a_node(cluster, project, process):
    """Kill the raylet of the node that is not the head's, in mid-epoch, as soon as there are checkpoints."""
    wait_until(lambda: len(checkpoints_of(project)) > 1 or process.poll() is not None, seconds=120)
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)


def test_a_node_is_lost_and_what_is_left_ends_with_the_same_losses(cluster, unbroken, tmp_path):
    project = set_scaling(make(tmp_path), min_workers=1, max_failures=3)
    process = project.start(
        "train", "-p", "toy", environment=joining(cluster, **with_failpoints(project, "worker 1, step 60=stop"))
    )
    lose_a_node(cluster, project, process)
    status, _, err = finish(process, 400)
    assert status == 0, err
    for ours, theirs in zip(curve_of(project), curve_of(unbroken), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9)


def test_a_node_is_lost_and_comes_back_and_the_weights_are_those_of_an_unbroken_run(cluster, unbroken, tmp_path):
    project = set_scaling(make(tmp_path), max_failures=3, hang_seconds=30)
    process = project.start(
        "train", "-p", "toy", environment=joining(cluster, **with_failpoints(project, "worker 1, step 60=stop"))
    )
    lose_a_node(cluster, project, process)
    cluster.add_node(num_cpus=1)
    status, _, err = finish(process, 400)
    assert status == 0, err
    assert_as_unbroken(project, unbroken)


def test_ctrl_c_stops_a_training_on_a_cluster_after_its_step(cluster, tmp_path):
    project = make(tmp_path, epochs=500, patience=0)
    process = project.start("train", "-p", "toy", environment=joining(cluster))
    wait_until(lambda: checkpoints_of(project) or process.poll() is not None, seconds=120)
    process.send_signal(signal.SIGINT)
    status, _, err = finish(process, 60)
    assert status == 130 and "run it again to go on" in err and "stopped after epoch" in err


@pytest.mark.parametrize(
    ("changes", "environment", "says"),
    [
        ({"num_workers": 9}, {}, "scaling asks for 9 workers of 1 cores; the cluster has 2 cores"),
        ({}, {"RAY_AUTH_TOKEN": "f" * 64}, "the cluster does not take us in"),
        ({}, {"RAY_ADDRESS": "127.0.0.1:9"}, "no cluster answers"),
    ],
)
def test_a_cluster_that_will_not_do_is_told_within_15_seconds(cluster, tmp_path, changes, environment, says):
    project = set_scaling(make(tmp_path), **changes)
    begun = time.monotonic()
    status, _, err = finish(project.start("train", "-p", "toy", environment=joining(cluster) | environment))
    assert status == 6 and says in err and "fix:" in err, err
    assert time.monotonic() - begun < 15
    assert not checkpoints_of(project)
