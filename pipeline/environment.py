"""What Ray, MLflow and the C library read from the environment as they start; whoever starts a process sets it before."""

import os
import sys

MLFLOW = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""Nothing sent home, no pickle, few words. What fails is tried again by `pipeline.tracking_store` and `pipeline.spool`; MLflow
would do so for minutes, and make a run twice where an answer was lost."""

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
    "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC": "0",
}
"""Ray's own settings: nothing sent home, quick answers between controller and workers, each line printed once."""


MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
    "THP_MEM_ALLOC_ENABLE": "1",
}
"""glibc keeps what tensors free for the next ones. Given back to the system after each step, every page of it would have to
be made anew, which costs a recurrent layer up to a third of its time. torch asks for large pages: rows of a word table that are
far apart are then found in less time."""


_LO = "lo" if sys.platform == "linux" else "lo0"
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "GLOO_SOCKET_IFNAME": _LO, "NCCL_SOCKET_IFNAME": _LO}
"""Has Ray listen on this machine's loopback alone, as it does by itself on other systems than Linux, and what carries gradients,
which takes the address that the machine's name leads to."""
CLUSTER = {"RAY_AUTH_MODE": "token", "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "1"}
"""A cluster is met with its token, which a machine's own Ray makes itself, and may take machines away with a warning."""

HEAD = {"GRPC_ENABLE_FORK_SUPPORT": "0"}
"""For a cluster's first node: else Ray's client server, which starts a process per client, fails at it now and then."""


def is_private() -> bool:
    """Say whether work runs on a Ray of this process's own, not on the cluster in `RAY_ADDRESS`."""
    return os.environ.get("RAY_ADDRESS", "local") in ("", "local")


def set_environment() -> None:
    """Set what is not set yet."""
    host = os.environ.get("RAY_ADDRESS", "").rpartition("://")[2].rpartition(":")[0]
    of_ray = {} if is_private() else CLUSTER
    if is_private() or host.startswith("127.") or host == "localhost":
        of_ray = of_ray | LOOPBACK
    for name, value in (MLFLOW | RAY | MEMORY | of_ray).items():
        os.environ.setdefault(name, value)
