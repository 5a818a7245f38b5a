"""What Ray and MLflow read from the environment as they are imported; whoever starts a process sets it before."""

import os

MLFLOW = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""Nothing sent home, no pickle, few words."""

RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Ray's own settings: nothing sent home, quick answers between controller and workers, each line printed once."""


def set_environment() -> None:
    """Set what is not set yet. A cluster is met with its token; a machine's own Ray makes one itself."""
    is_cluster = os.environ.get("RAY_ADDRESS", "local") not in ("", "local")
    for name, value in {**MLFLOW, **RAY, **({"RAY_AUTH_MODE": "token"} if is_cluster else {})}.items():
        os.environ.setdefault(name, value)
