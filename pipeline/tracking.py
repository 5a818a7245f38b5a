"""MLflow, and nothing else of the project knows it: runs, metrics, artifacts, the registry.

The store is `MLFLOW_TRACKING_URI`, or an SQLite file in the project's folder. Only the driver of a stage writes.
"""

import logging
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from urllib.parse import urlencode

from pipeline.errors import InfrastructureError, IntegrityError
from pipeline.manifest import MANIFEST

EPOCH_METRIC = "train/loss"
"""Logged once for every epoch, so that its steps tell which epochs were tracked."""
_METRICS_PER_CALL = 1000
SERVED_CODE = (
    "models/__init__.py",
    "models/config.py",
    *(
        f"pipeline/{name}.py"
        for name in (
            "__init__",
            "config",
            "digest",
            "engines",
            "errors",
            "examples",
            "labeler",
            "manifest",
            "masking",
            "plans",
            "stored",
            "vocab",
            "words",
        )
    ),
)
"""What `pipeline.served` imports: all of this project that a registered model takes with it."""
_MISSING = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"}
"""What MLflow answers where a run, a model, a version or an alias is not there."""
_COLLISIONS = {"BAD_REQUEST", "INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE"}
"""What MLflow answers where two processes write the same row at once."""
_PICKLES = {".pkl", ".pickle", ".joblib", ".pt", ".pth", ".bin", ".ckpt"}
"""What the names of files end in that other projects keep models in, as pickles that run code when they are read."""
_TRIES = 7
_Found = TypeVar("_Found")


def tracking_uri() -> str:
    """Give the store's address: `MLFLOW_TRACKING_URI`, else a SQLite file in the current folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path('mlflow.db').resolve()}"


def _client() -> Any:
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    mlflow.set_tracking_uri(tracking_uri())
    return mlflow.MlflowClient()


def client() -> Any:
    """Give MLflow's own client of the store, for `pipeline.registry`."""
    return _client()


def if_there(ask: Callable[[], _Found]) -> _Found | None:
    """Give what MLflow answers; None where what is asked for is not there.

    Raises:
        InfrastructureError: the store failed.
    """
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except MlflowException as error:
        _demand_missing(error)
        return None


def insist(write: Callable[[], _Found]) -> _Found:
    """Write to the store, and again where another process wrote the same at the same moment, which MLflow reports as an error."""
    from mlflow.exceptions import MlflowException

    for number in range(_TRIES):
        try:
            return write()
        except MlflowException as error:
            if error.error_code not in _COLLISIONS or number == _TRIES - 1:
                raise
            time.sleep(random.uniform(0, 0.05 * 2**number))  # so that two do not meet again
    raise AssertionError("the last try returns or raises")


def _experiment_id(name: str) -> str:
    """Find or make an experiment; artifacts of a local store go to a folder beside it."""
    client = _client()
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    return str(client.create_experiment(name, artifact_location=_artifacts_beside(tracking_uri())))


def _artifacts_beside(uri: str) -> str | None:
    """Give the address of the artifacts' folder beside a store that is a file; None where a server says where they go."""
    path = uri.removeprefix("sqlite:///").partition("?")[0]
    return None if path == uri or not path else (Path(path).resolve().parent / "mlartifacts").as_uri()


def _flat(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in params.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


@dataclass(frozen=True)
class Run:
    """One tracked run."""

    run_id: str

    @classmethod
    def start(
        cls, experiment: str, name: str, params: Mapping[str, Any], tags: Mapping[str, str], parent: str | None = None
    ) -> "Run":
        """Begin a run.

        Args:
            experiment: made where it is not there yet.
            name: what the run is called in the pages.
            params: names -> values; those in a mapping are named after it, `model.cell`.
            tags: flat names -> texts.
            parent: the run that this one is part of.
        """
        from mlflow.entities import Param

        client = _client()
        marks = {"mlflow.runName": name, **tags, **({"mlflow.parentRunId": parent} if parent else {})}
        run = client.create_run(_experiment_id(experiment), tags=marks)
        client.log_batch(run.info.run_id, params=[Param(key, str(value)) for key, value in _flat(params)])
        return cls(run.info.run_id)

    @classmethod
    def find(cls, run_id: str) -> "Run | None":
        """Take up a run that may have been begun earlier; None where the store does not know it."""
        from mlflow.exceptions import MlflowException

        client = _client()
        try:
            client.get_run(run_id)
        except MlflowException as error:
            _demand_missing(error)
            return None
        client.update_run(run_id, status="RUNNING")
        return cls(run_id)

    @classmethod
    def find_tagged(cls, experiment: str, tags: Mapping[str, str]) -> "Run | None":
        """Take up the run of an experiment that has all of these tags; None where there is none."""
        found = _client().get_experiment_by_name(experiment)
        condition = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        runs = [] if found is None else _client().search_runs([found.experiment_id], condition, max_results=1)
        return cls.find(runs[0].info.run_id) if runs else None

    def steps(self, metric: str) -> set[int]:
        """Give the steps at which a metric was logged."""
        return {int(point.step) for point in _client().get_metric_history(self.run_id, metric)}

    def log(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log metrics at one step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = [Metric(key, float(value), now, step) for key, value in metrics.items()]
        for i in range(0, len(points), _METRICS_PER_CALL):
            _client().log_batch(self.run_id, metrics=points[i : i + _METRICS_PER_CALL])

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        from mlflow.entities import RunTag

        _client().log_batch(self.run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])

    def keep(self, folder: Path, artifact_path: str | None = None) -> None:
        """Store a folder's files as artifacts."""
        _client().log_artifacts(self.run_id, str(folder), artifact_path)

    def end(self, status: str = "FINISHED") -> None:
        """Close the run: FINISHED, FAILED or KILLED."""
        _client().set_terminated(self.run_id, status)

    def watch_system(self) -> Any:
        """Begin to log this machine's load, memory, disk and network to the run; `finish()` on what is returned ends it."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        _client()
        monitor = SystemMetricsMonitor(self.run_id, sampling_interval=5, samples_before_logging=1, resume_logging=True)
        monitor.start()
        return monitor


def count_experiments() -> int:
    """Ask the store how many experiments it has.

    Raises:
        ConnectionError: it does not answer.
    """
    from mlflow.exceptions import MlflowException

    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    try:
        return len(_client().search_experiments())
    except MlflowException as error:
        raise ConnectionError(str(error).splitlines()[0]) from error


@dataclass(frozen=True)
class Version:
    """One registered version of a model."""

    name: str
    number: str
    run_id: str
    tags: dict[str, str]


def champion(name: str) -> Version | None:
    """Give the version under the alias `champion`, if there is one."""
    found = if_there(lambda: _client().get_model_version_by_alias(name, "champion"))
    return None if found is None else version_from(found)


def is_champion(version: Version) -> bool:
    """Say whether a version is under the alias `champion`."""
    found = champion(version.name)
    return found is not None and found.number == version.number


def parent_of(run_id: str) -> str | None:
    """Give the id of the run that a run is part of, if it is part of one."""
    found = if_there(lambda: _client().get_run(run_id))
    return None if found is None else found.data.tags.get("mlflow.parentRunId")


def about_run(run_id: str) -> str | None:
    """Name a run in a few words; None where the store does not have it."""
    found = if_there(lambda: _client().get_run(run_id))
    return None if found is None else f"{run_id} ({found.info.run_name}, {found.info.status})"


def param_of(run_id: str, name: str) -> str | None:
    """Give a param of a run as text; None where the run or the param is not there."""
    found = if_there(lambda: _client().get_run(run_id))
    return None if found is None else found.data.params.get(name)


def register(name: str, run_id: str, model_dir: Path, example: list[str], tags: Mapping[str, str], description: str) -> Version:
    """Store an exported model folder in a run as a model that takes texts and gives labels, and make it a new version.

    Args:
        name: of the registered model; made where it is not there yet.
        run_id: the run that the model came from.
        model_dir: what `pipeline.export` wrote.
        example: texts for the signature's example.
        tags: set on the version.
        description: shown on the version's page.
    """
    import mlflow

    client = _client()
    root = Path(__file__).resolve().parent.parent
    with mlflow.start_run(run_id=run_id), _served_code(root) as code:
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(root / "pipeline" / "served.py"),
            artifacts={"model": str(model_dir)},
            code_paths=code,
            pip_requirements=_requirements(),
            input_example=(example, {"probabilities": False, "tokens": False}),
            registered_model_name=name,
        )
    version = str(info.registered_model_version)
    client.update_model_version(name, version, description=description)
    for key, value in tags.items():
        client.set_model_version_tag(name, version, key, value)
    return version_from(client.get_model_version(name, version))


@contextmanager
def _served_code(root: Path) -> Iterator[list[str]]:
    """Give copies of the packages with only those modules in them that a served model imports."""
    with TemporaryDirectory() as folder:
        for name in SERVED_CODE:
            target = Path(folder) / name
            target.parent.mkdir(exist_ok=True)
            copyfile(root / name, target)
        yield [str(package) for package in sorted(Path(folder).iterdir())]


def artifact_link(run_id: str, path: str) -> str:
    """Give the address of a run's artifact, as seen from MLflow's own pages."""
    return f"get-artifact?{urlencode({'path': path, 'run_uuid': run_id})}"


def download_model(uri: str) -> Path:
    """Fetch a model such as `models:/pos@champion`; returns the folder that `pipeline.labeler` loads.

    MLflow's own way of loading runs what code a model brings along. Here its files are fetched, and those of the folder are read.

    Raises:
        LookupError: the registry has no such model.
        IntegrityError: it is a model of another project, whose code would have to be run.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    _client()
    try:
        fetched = Path(mlflow.artifacts.download_artifacts(uri))
    except MlflowException as error:
        _demand_missing(error)
        raise LookupError(str(error).splitlines()[0]) from error
    folder = fetched / "artifacts" / "model"
    pickles = sorted(str(path.relative_to(fetched)) for path in fetched.rglob("*") if path.suffix in _PICKLES)
    if pickles or not (folder / MANIFEST).is_file():
        what = f"it holds {', '.join(pickles)}, which may be pickles" if pickles else f"it has no artifacts/model/{MANIFEST}"
        raise IntegrityError(f"{uri}: is no model of this project; {what}; nothing of it is run; fix: name another")
    return folder


def _demand_missing(error: Any) -> None:
    """Let an error of MLflow pass that says a thing is not there; a store that fails must not look like an empty one.

    Raises:
        InfrastructureError: the store failed.
    """
    if error.error_code not in _MISSING:
        reason = str(error).splitlines()[0]
        raise InfrastructureError(
            f"{tracking_uri()}: MLflow failed; {reason}; fix: see that the server runs, then try again"
        ) from error


def git_commit() -> str:
    """Give the commit of the current folder; `none` outside git.

    A + follows where other files than dvc.lock differ from it; that one DVC writes after every stage.
    """
    try:
        commit = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock")
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return commit + ("+" if changed else "")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def version_from(found: Any) -> Version:
    """Read what MLflow says of a version."""
    return Version(found.name, str(found.version), found.run_id, dict(found.tags))


def _requirements() -> list[str]:
    from importlib.metadata import version

    names = {"mlflow-skinny": "mlflow", "pandas": "pandas", "onnxruntime": "onnxruntime", "numpy": "numpy", "polars": "polars"}
    return [f"{package}=={version(installed)}" for package, installed in names.items()]
