"""A sweep whose driver is killed again and again, beside one that was left alone."""

import json
import signal
import time

import pytest
from project import sweep_runs, swept_project

from pipeline.nodes import nodes

pytestmark = [  # Ray leaves its nodes' logs open
    pytest.mark.filterwarnings("ignore:unclosed file"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SPACE = {
    "units": [4, 16],
    "model": {"cell": ["lstm", "simple_rnn"], "activation": ["tanh", "relu"]},
    "train": {"lr": {"min": 1e-5, "max": 0.05, "log": True}},
}
SWEEP = {"trials": 5, "epochs": 4, "searcher": "random", "stopper": "none", "seed": 8, "seeds": 0, "space": SPACE}
MOMENTS = {
    "a trial was chosen": lambda trials: bool(trials),
    "an epoch was told": lambda trials: any(trial["scores"] and trial["state"] == "running" for trial in trials),
    "two trials ended": lambda trials: sum(trial["state"] != "running" for trial in trials) >= 2,
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    project = swept_project(tmp_path_factory.mktemp("alone"), **SWEEP)
    project.run("sweep")
    return project


def test_a_sweep_that_a_person_stops_says_so_and_goes_on(tmp_path):
    project = swept_project(tmp_path, **SWEEP | {"trials": 2, "epochs": 20})
    process = project.start("sweep")
    while process.poll() is None and not MOMENTS["an epoch was told"](_trials(project)):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "run it again to go on" in err
    parent, children = sweep_runs(project)
    assert {run.info.status for run in [parent, *children]} == {"KILLED"}
    project.run("sweep")
    parent, children = sweep_runs(project)
    assert len(children) == 2 and {run.info.status for run in [parent, *children]} == {"FINISHED"}


def test_a_sweep_killed_at_three_moments_has_each_trial_once_and_the_same_scores(alone, tmp_path):
    project = swept_project(tmp_path, **SWEEP)
    for has_come in MOMENTS.values():
        process = project.start("sweep")
        while process.poll() is None and not has_come(_trials(project)):
            time.sleep(0.02)
        assert process.poll() is None, process.communicate()[1]
        process.kill()
        process.communicate()
    project.run("sweep")
    parent, children = sweep_runs(project)
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}
    assert [_result(run) for run in children] == [_result(run) for run in sweep_runs(alone)[1]]
    for run in children:
        assert project.metric_steps(run.info.run_id, "train/loss")[1] == [1, 2, 3, 4]


def _trials(project):
    paths = (project.folder / ".unroll" / "sweeps").rglob("trial-*.json")
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def _result(run):
    keys = ("model.cell", "model.activation", "model.hidden", "train.lr")
    return [run.data.tags["trial"], *(run.data.params[key] for key in keys), run.data.metrics["best/score"]]


def test_on_a_cluster_trials_run_on_every_node(tmp_path):
    project = swept_project(tmp_path, **SWEEP | {"epochs": 40})  # so long that both nodes' processes are up meanwhile
    with nodes(num_nodes=2, cpus_per_node=1) as cluster:
        process = project.start("sweep", environment={"RAY_ADDRESS": cluster.address})
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    _, children = sweep_runs(project)
    assert {run.info.status for run in children} == {"FINISHED"} and len(children) == SWEEP["trials"]
    assert len({run.data.tags["node"] for run in children}) == 2


def test_a_trial_whose_process_dies_is_started_again_as_often_as_asked(tmp_path):
    place = "worker 0, step 5=kill"
    options = SWEEP | {"trials": 1, "max_failures": 1}
    once = swept_project(tmp_path / "once", **options)
    process = once.start("sweep", environment={"UNROLL_FAILPOINTS": place, "UNROLL_FAILPOINTS_LOG": str(tmp_path / "log")})
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert (tmp_path / "log").read_text(encoding="utf-8").splitlines() == [place]
    assert sweep_runs(once)[1][0].data.tags["trial_state"] == "finished"

    always = swept_project(tmp_path / "always", **options)
    process = always.start("sweep", environment={"UNROLL_FAILPOINTS": place})
    _, err = process.communicate(timeout=200)
    assert process.returncode == 6 and "no trial of the sweep came to its end" in err
    (child,) = sweep_runs(always)[1]
    assert child.info.status == "FAILED" and child.data.tags["problem"]


def test_a_trial_of_two_workers_scores_as_one_of_one_does_and_outlives_one_of_them(alone, tmp_path):
    place = "worker 1, step 5=kill"
    project = swept_project(tmp_path / "two", **SWEEP | {"trials": 2, "workers_per_trial": 2})
    process = project.start("sweep", environment={"UNROLL_FAILPOINTS": place, "UNROLL_FAILPOINTS_LOG": str(tmp_path / "log")})
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert (tmp_path / "log").read_text(encoding="utf-8").splitlines() == [place]
    assert [_result(run) for run in sweep_runs(project)[1]] == [_result(run) for run in sweep_runs(alone)[1][:2]]


def test_ten_networks_that_differ_by_their_seed_alone_have_no_winner(tmp_path):
    options = {"searcher": "grid", "stopper": "none", "trials": 10, "finalists": 10, "seeds": 3, "epochs": 1}
    project = swept_project(tmp_path, **options, space={"train": {"seed": list(range(1, 11)), "lr": [0.003]}})
    printed = project.run("sweep")
    _, repeats = sweep_runs(project, "repeat")
    assert len(repeats) == 30 and len({run.data.params["train.seed"] for run in repeats}) == 30
    scores = {run.data.metrics["best/score"] for run in repeats}
    assert len(scores) > 5, "luck is at work"
    assert printed.count("tied (p =") == 9 and "worse (p" not in printed


def test_networks_of_one_time_have_epochs_that_make_it_and_their_repetitions_the_same(tmp_path):
    options = {"budget": {"seconds": 4}, "searcher": "grid", "stopper": "none", "trials": 2, "seeds": 2}
    project = swept_project(tmp_path, **options, space={"units": [4, 128]})
    project.run("sweep")
    _, children = sweep_runs(project)
    epochs = [int(run.data.params["train.epochs"]) for run in children]
    assert epochs[0] > epochs[1] >= 1 and [int(run.data.metrics["epoch"]) for run in children] == epochs
    assert all(2 < run.data.metrics["train/seconds"] < 8 for run in children), "within what a busy machine varies by"
    _, repeats = sweep_runs(project, "repeat")
    of_units = {run.data.params["model.hidden"]: run.data.params["train.epochs"] for run in children}
    assert all(run.data.params["train.epochs"] == of_units[run.data.params["model.hidden"]] for run in repeats) and repeats
