"""Many processes that register at once, in an SQLite file and through MLflow's server: one version a run, the best is champion.

In a round several models whose scores are known are registered at once, most of them twice, each by a process of its own.
`UNROLL_ROUNDS` (50) says how many rounds there are; most leave out what only takes time, such as storing the model.
"""

import json
import os
import random
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from uuid import uuid4

import pytest
from entrants import LABELS, make_entrant, register_entrant
from mlflow import MlflowClient
from servers import mlflow_server

from pipeline import registry, tracking_store, versions
from pipeline.environment import set_environment
from pipeline.layout import Layout

pytestmark = pytest.mark.filterwarnings("default")  # MLflow's own, as it logs a model
ROUNDS = int(os.environ.get("UNROLL_ROUNDS", "50"))
SHARES = {"sqlite": 1.0, "unlocked": 1.0, "server": 0.2}
"""Of the rounds, for each kind of store: SQLite, the same without the lock, and a server, which takes longer."""


@pytest.fixture(scope="module", params=SHARES)
def store(request, tmp_path_factory):
    """A store with one model in it: its kind, address and that model's."""
    folder = tmp_path_factory.mktemp("store")
    os.environ["MLFLOW_TRACKING_URI"] = uri = f"sqlite:///{folder / 'mlflow.db'}"
    tracking_store.count_experiments()
    server = mlflow_server(folder, uri, str(folder / "artifacts")) if request.param == "server" else nullcontext(uri)
    here = Path.cwd()
    os.chdir(folder)
    try:
        with server as address:
            os.environ["MLFLOW_TRACKING_URI"] = address
            register_entrant(make_entrant(folder / "first", "A", "first"))
            yield request.param, address, MlflowClient(address).get_model_version("first", "1").source
    finally:
        os.chdir(here)
        del os.environ["MLFLOW_TRACKING_URI"]


def begin(uri, points=""):
    os.environ |= {"MLFLOW_TRACKING_URI": uri, "UNROLL_FAILPOINTS": points}
    set_environment()
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115


def compete(name, run_id, score, source, kind):
    """Register as the stage does, save that the model is stored already and its score known; gives version and outcome."""

    def create():
        client, model_id = MlflowClient(tracking_store.tracking_uri()), source.rpartition("/")[2]
        return versions.version_from(client.create_model_version(name, source, run_id, model_id=model_id))

    def judge(champion):
        return None if champion is not None and float(champion.tags["score"]) >= score else score

    with nullcontext() if kind == "unlocked" else registry.alone(name):
        version = registry.enter(name, run_id, create)
        registry.complete(version, {"score": str(score)}, "a card")
        return version.number, registry.settle(version, "exam", judge).is_champion


def check_round(client, name, found, best_run):
    versions = client.search_model_versions(f"name='{name}'")
    assert len({version.version for version in versions}) == len({version.run_id for version in versions})
    assert {run_id: {number} for run_id, (number, _) in found} == {it.run_id: {str(it.version)} for it in versions}
    champion = client.get_model_version_by_alias(name, "champion")
    assert champion.run_id == best_run and "champion_since" in champion.tags
    losers = [version for version in versions if "champion_since" not in version.tags]
    assert not any("claim" in version.tags for version in losers)


@pytest.mark.parametrize("processes", [2, 8])
def test_the_best_of_all_that_register_at_once_is_champion_and_each_run_has_one_version(store, processes):
    kind, uri, source = store
    client, draw = MlflowClient(uri), random.Random(processes)
    with ProcessPoolExecutor(processes, get_context("spawn"), begin, (uri,)) as pool:
        for number in range(max(round(ROUNDS * SHARES[kind]), 1)):
            name = f"{processes}-{number}"
            client.create_registered_model(name)
            scores = {uuid4().hex: draw.randrange(1, 1000) / 1000 for _ in range(max(processes - 3, 2))}
            asked = [*scores, *scores][:processes]
            done = [pool.submit(compete, name, run_id, scores[run_id], source, kind) for run_id in asked]
            found = [(run_id, future.result()) for run_id, future in zip(asked, done, strict=True)]
            check_round(client, name, found, max(scores, key=scores.get))


def run_of(layout):
    return json.loads((layout.report_dir / "run.json").read_text(encoding="utf-8"))["run_id"]


def register(folder, name):
    os.chdir(folder.parent)
    return register_entrant(Layout(name, folder / "data", folder / ".unroll"))["version"]


def test_whole_models_that_are_stored_and_asked_leave_the_best_as_champion(store, tmp_path):
    kind, uri, _ = store
    if kind == "unlocked":
        pytest.skip("the stage takes the lock")
    client, draw = MlflowClient(uri), random.Random(1)
    with ProcessPoolExecutor(4, get_context("spawn"), begin, (uri,)) as pool:
        for number in range(max(ROUNDS // 10, 1)):
            name, labels = f"whole-{number}", draw.sample(LABELS, 3)
            layouts = {label: make_entrant(tmp_path / name / label, label, name) for label in labels}
            runs = {label: run_of(layout) for label, layout in layouts.items()}
            asked = [*labels, labels[0]]
            done = [pool.submit(register, tmp_path / name / label, name) for label in asked]
            found = [(runs[label], (future.result(), None)) for label, future in zip(asked, done, strict=True)]
            check_round(client, name, found, runs[min(labels)])


@pytest.mark.parametrize("place", ["created", "completed", "claimed", "alias set"])
def test_a_register_that_is_killed_half_way_is_finished_by_whoever_comes_next(store, tmp_path, place):
    kind, uri, _ = store
    if kind == "unlocked":
        pytest.skip("the stage takes the lock")
    name, spawn = f"killed-{place.replace(' ', '-')}", get_context("spawn")
    for label in "CBD":
        make_entrant(tmp_path / label, label, name)
    for label, points in [("C", ""), ("B", f"register: {place}=kill"), ("D", ""), ("B", "")]:
        process = spawn.Process(target=_register_once, args=(uri, points, tmp_path / label, name))
        process.start()
        process.join()
        assert process.exitcode == (-9 if points else 0)
    client = MlflowClient(uri)
    versions = {str(it.version): it for it in client.search_model_versions(f"name='{name}'")}
    champion = client.get_model_version_by_alias(name, "champion")
    assert len(versions) == 3 and str(champion.version) == "2" and champion.description.startswith(f"**{name}**")
    assert {"champion_since", "gate_gain", "judged_by", "sha256_weights"} <= set(versions["2"].tags)


def _register_once(uri, points, folder, name):
    begin(uri, points)
    register(folder, name)
