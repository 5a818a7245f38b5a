"""Where a model is: a folder, or an address in MLflow's registry, from which it is fetched."""

from pathlib import Path

from pipeline.errors import ParamsError
from pipeline.layout import WORK_DIR
from pipeline.tracking import in_use
from pipeline.tracking_store import shown_uri
from pipeline.versions import download_model


def find_model(model: str) -> Path:
    """Give the folder of a model.

    Raises:
        ParamsError: the registry has no such model.
    """
    if not model.startswith(("models:", "runs:")):
        return Path(model)
    try:
        with in_use(WORK_DIR):
            return download_model(model)
    except LookupError as error:
        raise ParamsError(
            f"--model {model}: not in the registry at {shown_uri()}; {error}; fix: `make repro` registers models"
        ) from error
