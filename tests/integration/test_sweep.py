"""A sweep as a user calls it: a parent run, a child per trial, whatever became of it, and the best in the registry."""

import pytest
from project import Project

SPACE = {"cell": ["lstm", "simple_rnn"], "hidden": [4, 16], "lr": [1e-5, 0.05]}
SWEEP = {"pipeline": "toy", "trials": 5, "epochs": 4, "grace_epochs": 1, "space": SPACE}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A project after `unroll sweep`, and what was printed."""
    project = Project(tmp_path_factory.mktemp("swept"), sweep=SWEEP)
    project.stages("fetch", "prepare", "encode")
    return project, project.run("sweep")


def _runs(client):
    runs = client.search_runs([client.get_experiment_by_name("toy").experiment_id])
    (parent,) = (run for run in runs if run.data.tags.get("kind") == "sweep")
    return parent, [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]


def test_every_trial_is_a_finished_child_of_the_sweeps_run(swept):
    parent, children = _runs(swept[0].client())
    assert len(children) == SWEEP["trials"]
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}


def test_a_trial_that_lags_behind_is_stopped_early(swept):
    _, children = _runs(swept[0].client())
    ended = [(run.data.tags["trial_state"], int(run.data.metrics["epoch"])) for run in children]
    assert {state for state, _ in ended} == {"finished", "stopped early"}
    assert all((state == "finished") == (epoch == SWEEP["epochs"]) for state, epoch in ended)


def test_the_best_whole_trial_is_registered_with_its_test_score(swept):
    client = swept[0].client()
    parent, children = _runs(client)
    best = max(
        (run for run in children if run.data.tags["trial_state"] == "finished"), key=lambda r: r.data.metrics["best/score"]
    )
    version = client.get_model_version_by_alias("toy", "champion")
    assert version.run_id == best.info.run_id and parent.data.tags["best_trial"] == best.data.tags["trial"]
    assert f"{best.data.metrics['test/accuracy']:.4f}" == version.tags["test_accuracy"]


def test_the_best_is_offered_as_a_change_to_params(swept):
    assert "under pipelines.toy" in swept[1] and "lr:" in swept[1].split("under pipelines.toy")[1]


def test_a_sweep_leaves_the_pipelines_own_files_alone(swept):
    assert {path.name for path in (swept[0].folder / "data" / "toy").iterdir()} == {"raw", "prepared", "encoded"}
