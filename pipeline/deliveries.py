"""What a run's entries in the spool are to MLflow: a function for each kind, that bears to be called again with the same."""

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from shutil import rmtree

from pipeline.spool import Entry, RefusedError
from pipeline.tracking_store import artifacts_beside, client, code_of, entities, first_line

EPOCH_METRIC = "train/loss"
"""Logged once for every epoch, so that its steps tell which epochs were tracked."""
_METRICS_PER_CALL = 1000
_REFUSALS = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "INVALID_STATE"}
"""What MLflow answers to what it will never take, such as points of a run that was deleted."""


def deliver(run: str, entries: list[Entry]) -> str:
    """Bring entries of one run to MLflow; gives the run's id. The same may be brought again."""
    try:
        for kind, group in _by_kind(entries):
            if kind not in _DELIVERIES:
                raise RefusedError(f"the spool has an entry that is {kind}")
            run = _DELIVERIES[kind](run, group)
    except Exception as error:
        if code_of(error) in _REFUSALS:
            raise RefusedError(f"MLflow refuses what was logged; {first_line(error)}") from error
        raise
    return run


def _by_kind(entries: list[Entry]) -> Iterator[tuple[str, list[Entry]]]:
    for kind, group in groupby(entries, key=lambda entry: "metrics" if "metrics" in entry else entry["kind"]):
        yield kind, list(group)


def _begin(run: str, entries: list[Entry]) -> str:
    (entry,) = entries
    found = find_tagged(entry["experiment"], entry["tags"])
    if found is None:
        found = create(entry["experiment"], entry["name"], entry["tags"] | entry["further"], entry["parent"])
    else:
        client().update_run(found, status="RUNNING")
    known = client().get_run(found).data.params
    return _log_params(found, [{"params": {key: value for key, value in entry["params"].items() if key not in known}}])


def _log_params(run: str, entries: list[Entry]) -> str:
    client().log_batch(run, params=[entities().Param(key, value) for entry in entries for key, value in entry["params"].items()])
    return run


def _log_tags(run: str, entries: list[Entry]) -> str:
    client().log_batch(run, tags=[entities().RunTag(key, value) for entry in entries for key, value in entry["tags"].items()])
    return run


def _log_metrics(run: str, entries: list[Entry]) -> str:
    """Log points, each with its own time, by which MLflow knows one that it has already."""
    new = entities().Metric
    whole = _without_known_epochs(run, entries)
    points = [new(key, value, entry["time"], entry["step"]) for entry in whole for key, value in entry["metrics"].items()]
    for i in range(0, len(points), _METRICS_PER_CALL):
        client().log_batch(run, metrics=points[i : i + _METRICS_PER_CALL])
    return run


def _without_known_epochs(run: str, entries: list[Entry]) -> list[Entry]:
    """Leave out epochs that are there already: one that was trained twice has other times."""
    if all(entry["kind"] != "epoch" for entry in entries):
        return entries
    known = {point.step for point in client().get_metric_history(run, EPOCH_METRIC)}
    new = []
    for entry in entries:
        if entry["kind"] != "epoch" or entry["step"] not in known:
            new.append(entry)
            known |= {entry["step"]} if entry["kind"] == "epoch" else set()
    return new


def _log_files(run: str, entries: list[Entry]) -> str:
    for entry in entries:
        if Path(entry["folder"]).is_dir():  # else it was delivered before
            client().log_artifacts(run, entry["folder"], entry["path"])
            if entry["is_copy"]:
                rmtree(entry["folder"])
    return run


def _set_status(run: str, entries: list[Entry]) -> str:
    for entry in entries:
        if entry["status"] == "RUNNING":
            client().update_run(run, status="RUNNING")
        else:
            client().set_terminated(run, entry["status"], entry["time"])
    return run


_DELIVERIES: dict[str, Callable[[str, list[Entry]], str]] = {
    "begin": _begin,
    "params": _log_params,
    "tags": _log_tags,
    "metrics": _log_metrics,
    "files": _log_files,
    "status": _set_status,
}


def create(experiment: str, name: str, tags: Mapping[str, str], parent: str | None) -> str:
    """Begin a run; gives its id. The experiment is made where it is not there yet."""
    marks = {"mlflow.runName": name, **tags, **({"mlflow.parentRunId": parent} if parent else {})}
    return str(client().create_run(_experiment_id(experiment), tags=marks).info.run_id)


def find_tagged(experiment: str, tags: Mapping[str, str]) -> str | None:
    """Give the id of the run of an experiment that has all of these tags; None where there is none."""
    found = client().get_experiment_by_name(experiment)
    condition = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    runs = [] if found is None else client().search_runs([found.experiment_id], condition, max_results=1)
    return str(runs[0].info.run_id) if runs else None


def _experiment_id(name: str) -> str:
    """Find or make an experiment; artifacts of a local store go to a folder beside it."""
    store = client()
    found = store.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    try:
        return str(store.create_experiment(name, artifact_location=artifacts_beside()))
    except Exception:
        found = store.get_experiment_by_name(name)  # which another process may have made meanwhile
        if found is None:
            raise
        return str(found.experiment_id)
