"""Where a model is: a folder, or an address in MLflow's registry, from which it is fetched."""

from pathlib import Path

from pipeline import tracking
from pipeline.errors import ParamsError


def find_model(model: str) -> Path:
    """Give the folder of a model.

    Raises:
        ParamsError: the registry has no such model.
    """
    if not model.startswith(("models:", "runs:")):
        return Path(model)
    try:
        return tracking.download_model(model)
    except LookupError as error:
        raise ParamsError(
            f"--model {model}: not in the registry at {tracking.tracking_uri()}; {error}; fix: `make repro` registers models"
        ) from error
