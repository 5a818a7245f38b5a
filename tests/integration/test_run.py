"""`unroll run`: the real stages in a scratch folder, as a user calls them; the project itself stays as it was."""

import json

import pytest
from project import Project

TINY = {"word_size": 12, "char_hidden": 0, "hidden": [16]}


def _files(project):
    """Give what is in the project beside its scratch folders."""
    return sorted(str(path.relative_to(project.folder)) for path in project.folder.rglob("*") if ".unroll" not in path.parts)


def _end(project, *arguments, options=()):
    process = (
        project.start(*options, "run", "-p", "toy", *arguments) if options else project.start("run", "-p", "toy", *arguments)
    )
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def fast(tmp_path_factory):
    """A project in which one batch went through every stage, with what was printed."""
    project = Project(tmp_path_factory.mktemp("fast"), num_workers=1, model=TINY)
    before = _files(project)
    return project, before, *_end(project, "--fast-dev-run", options=["--json-logs"])


def test_one_batch_goes_through_every_stage_to_a_version_in_a_registry_of_its_own(fast):
    project, _, status, out, err = fast
    assert status == 0, err
    assert "one batch went through every stage" in out
    scratch = project.folder / ".unroll" / "run" / "toy"
    registered = json.loads((scratch / "data" / "toy" / "registry.json").read_text(encoding="utf-8"))
    assert registered["version"] == "1" and (scratch / "mlflow.db").is_file() and (scratch / "mlartifacts").is_dir()
    history = json.loads((scratch / "data" / "toy" / "model" / "meta.json").read_text(encoding="utf-8"))["history"]
    assert len(history) == 1
    prepared = json.loads((scratch / "data" / "toy" / "prepared" / "summary.json").read_text(encoding="utf-8"))
    assert [prepared[split]["examples"] for split in ("train", "val", "test")] == [8, 8, 8]


def test_the_project_stays_as_it_was(fast):
    project, before, *_ = fast
    assert _files(project) == before


def test_as_json_every_line_on_standard_error_is_an_object_an_epoch_too(fast):
    lines = [json.loads(line) for line in fast[-1].splitlines()]
    assert all({"time", "level", "message"} <= set(line) for line in lines)
    assert any(line["level"] == "info" and "epoch   1 of 1" in line["message"] for line in lines)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A project in which nothing was run."""
    return Project(tmp_path_factory.mktemp("fresh"), num_workers=1, model=TINY)


def test_a_network_that_can_learn_a_batch_by_heart_is_said_to(fresh):
    before = _files(fresh)
    status, out, err = _end(fresh, "--overfit-one-batch", "--limit", "20", options=["-q"])
    assert status == 0, err
    assert "learnt by heart in" in out and out.count("\n") == 1 and _files(fresh) == before


def test_a_network_that_can_not_is_told_with_what_to_do(fresh):
    status, out, err = _end(fresh, "--overfit-one-batch", "--steps", "3", "--set", "train.lr=1e-9")
    assert status == 2 and "learnt by heart in" not in out
    assert "does not learn one batch by heart; after 3 steps" in err and "fix: " in err and "1e-09" in err


def test_a_dry_run_says_how_long_and_how_much_and_changes_nothing(tmp_path):
    project = Project(tmp_path, num_workers=1, model=TINY)
    status, out, err = _end(project, "--dry-run", "--set", "train.epochs=2")
    assert status == 0, err
    told = " ".join(out.replace("│", " ").split())
    assert "1 worker, at most 2 epochs of" in told and "words/s" in told and "GB" in told
    assert not (project.folder / ".unroll").exists() and _files(project) == ["corpora.yaml", "drawn.conllu", "params.yaml"]
