"""The versions of registered models in MLflow: to make one of an exported model, to find one, to fetch one without running it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.errors import IntegrityError
from pipeline.manifest import MANIFEST
from pipeline.tracking_store import client, demand_missing, if_there, patiently

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
_PICKLES = {".pkl", ".pickle", ".joblib", ".pt", ".pth", ".bin", ".ckpt"}
"""What the names of files end in that other projects keep models in, as pickles that run code when they are read."""


@dataclass(frozen=True)
class Version:
    """One registered version of a model."""

    name: str
    number: str
    run_id: str
    tags: dict[str, str]


def champion(name: str) -> Version | None:
    """Give the version under the alias `champion`, if there is one."""
    found = if_there(lambda: client().get_model_version_by_alias(name, "champion"))
    return None if found is None else version_from(found)


def is_champion(version: Version) -> bool:
    """Say whether a version is under the alias `champion`."""
    found = champion(version.name)
    return found is not None and found.number == version.number


def version_from(found: Any) -> Version:
    """Read what MLflow says of a version."""
    return Version(found.name, str(found.version), found.run_id, dict(found.tags))


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

    store = client()
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
    store.update_model_version(name, version, description=description)
    for key, value in tags.items():
        store.set_model_version_tag(name, version, key, value)
    return version_from(store.get_model_version(name, version))


@contextmanager
def _served_code(root: Path) -> Iterator[list[str]]:
    """Give copies of the packages with only those modules in them that a served model imports."""
    with TemporaryDirectory() as folder:
        for name in SERVED_CODE:
            target = Path(folder) / name
            target.parent.mkdir(exist_ok=True)
            copyfile(root / name, target)
        yield [str(package) for package in sorted(Path(folder).iterdir())]


def download_model(uri: str) -> Path:
    """Fetch a model such as `models:/pos@champion`; returns the folder that `pipeline.labeler` loads.

    MLflow's own way of loading runs what code a model brings along. Here its files are fetched, and those of the folder are read.

    Raises:
        LookupError: the registry has no such model.
        IntegrityError: it is a model of another project, whose code would have to be run.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    client()
    try:
        fetched = Path(patiently(mlflow.artifacts.download_artifacts, uri))
    except MlflowException as error:
        demand_missing(error)
        raise LookupError(str(error).splitlines()[0]) from error
    folder = fetched / "artifacts" / "model"
    pickles = sorted(str(path.relative_to(fetched)) for path in fetched.rglob("*") if path.suffix in _PICKLES)
    if pickles or not (folder / MANIFEST).is_file():
        what = f"it holds {', '.join(pickles)}, which may be pickles" if pickles else f"it has no artifacts/model/{MANIFEST}"
        raise IntegrityError(f"{uri}: is no model of this project; {what}; nothing of it is run; fix: name another")
    return folder


def _requirements() -> list[str]:
    from importlib.metadata import version

    names = {"mlflow-skinny": "mlflow", "pandas": "pandas", "onnxruntime": "onnxruntime", "numpy": "numpy", "polars": "polars"}
    return [f"{package}=={version(installed)}" for package, installed in names.items()]
