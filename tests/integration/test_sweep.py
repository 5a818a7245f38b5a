"""A sweep as a user calls it: a parent run, a child per trial, whatever became of it, and the best in the registry."""

import pytest
from project import sweep_runs, swept_project
from ruamel.yaml import YAML

from pipeline.params import load_config

SPACE = {
    "units": [4, 16],
    "model": {"cell": ["lstm", "simple_rnn"], "activation": ["tanh", "relu"]},
    "train": {"lr": {"min": 1e-5, "max": 0.05, "log": True}},
}
SWEEP = {"trials": 5, "epochs": 4, "grace_epochs": 1, "searcher": "random", "seed": 8, "finalists": 2, "seeds": 2, "space": SPACE}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A project after `unroll sweep`, and what was printed."""
    project = swept_project(tmp_path_factory.mktemp("swept"), **SWEEP)
    return project, project.run("sweep")


def test_every_trial_is_a_finished_child_of_the_sweeps_run(swept):
    parent, children = sweep_runs(swept[0])
    assert [run.data.tags["trial"] for run in children] == ["1", "2", "3", "4", "5"]
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}


def test_a_trial_that_lags_behind_is_stopped_early(swept):
    ended = [(run.data.tags["trial_state"], int(run.data.metrics["epoch"])) for run in sweep_runs(swept[0])[1]]
    assert {state for state, _ in ended} == {"finished", "stopped early"}
    assert all((state == "finished") == (epoch == SWEEP["epochs"]) for state, epoch in ended)


def test_the_best_are_trained_again_with_other_seeds_and_compared(swept):
    whole = [run for run in sweep_runs(swept[0])[1] if run.data.tags["trial_state"] == "finished"]
    finalists = sorted(whole, key=lambda run: -run.data.metrics["best/score"])[: SWEEP["finalists"]]
    _, repeats = sweep_runs(swept[0], "repeat")
    assert {run.info.status for run in repeats} == {"FINISHED"}
    tried = sorted((run.data.params["train.lr"], run.data.params["train.seed"]) for run in repeats)
    assert tried == sorted((run.data.params["train.lr"], seed) for run in finalists for seed in ("1001", "1002"))
    assert "the best; proposed" in swept[1] and "tied (p =" in swept[1]


def test_a_finalist_is_registered_with_its_test_score(swept):
    client = swept[0].client()
    parent, children = sweep_runs(swept[0])
    best = max(
        (run for run in children if run.data.tags["trial_state"] == "finished"), key=lambda r: r.data.metrics["best/score"]
    )
    version = client.get_model_version_by_alias("toy", "champion")
    assert version.run_id == best.info.run_id and parent.data.tags["best_trial"] == best.data.tags["trial"]
    assert f"{best.data.metrics['test/accuracy']:.4f}" == version.tags["test_accuracy"]


def test_a_sweep_leaves_the_pipelines_own_files_alone(swept):
    assert {path.name for path in (swept[0].folder / "data" / "toy").iterdir()} == {"raw", "prepared", "encoded"}


def test_a_sweep_called_again_runs_what_is_new_alone_and_its_best_is_adopted(swept):
    project, _ = swept
    params = YAML().load(project.folder / "params.yaml")
    params["sweep"]["trials"] = 6
    YAML().dump(params, project.folder / "params.yaml")
    project.run("sweep")
    again = project.run("sweep")
    assert len(sweep_runs(project)[1]) == 6 and "6 of 6" not in again
    printed = project.run("adopt")
    best = sweep_runs(project)[0].data.tags["best_trial"]
    chosen = next(run for run in sweep_runs(project)[1] if run.data.tags["trial"] == best)
    config, _ = load_config(project.folder / "params.yaml", project.folder / "corpora.yaml")
    adopted = config.pipelines["toy"]
    assert [str(adopted.train.lr), str(adopted.train.epochs)] == [chosen.data.params[f"train.{k}"] for k in ("lr", "epochs")]
    assert str(list(adopted.model.hidden)) == chosen.data.params["model.hidden"] and "+      lr:" in printed


def test_a_budget_that_no_width_meets_and_a_ray_client_are_refused_before_a_run_begins(swept):
    project, _ = swept
    params = YAML().load(project.folder / "params.yaml")
    params["sweep"] |= {"budget": {"parameters": 3000}, "space": {"model": {"cell": ["lstm"]}}}
    YAML().dump(params, project.folder / "params.yaml")
    num_runs = len(sweep_runs(project)[1])
    for code, says, environment in [
        (2, "sweep.budget.parameters is 3,000", {}),
        (6, "fix: give host:port", {"RAY_ADDRESS": "ray://a:1"}),
    ]:
        process = project.start("sweep", environment=environment)
        _, err = process.communicate()
        assert process.returncode == code and says in err
    assert len(sweep_runs(project)[1]) == num_runs


def test_a_trial_that_fails_is_told_and_harms_no_other(tmp_path):
    space = {"train": {"lr": [0.02, 1e300]}}
    options = {"trials": 5, "searcher": "grid", "stopper": "none", "epochs": 1, "max_failures": 0, "seeds": 0}
    project = swept_project(tmp_path, **options, space=space)
    printed = project.run("sweep")
    _, children = sweep_runs(project)
    assert [(run.data.tags["trial_state"], run.info.status) for run in children] == [
        ("finished", "FINISHED"),
        ("failed", "FAILED"),
    ]
    assert "trial 3" not in project.run("sweep"), "the space has no more"
    assert "trial 2 failed" in printed and "lower train.lr" in children[1].data.tags["problem"]
