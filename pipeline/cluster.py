"""Where to run: this machine's own Ray, or the cluster in `RAY_ADDRESS`; what is there, and how work is sent to it."""

import os
import platform
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

import ray
from ray._private import worker as ray_worker
from ray.exceptions import RayError, RaySystemError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import models
import pipeline
from pipeline.config import MOST_CPU_WORKERS, ScalingConfig
from pipeline.environment import CLUSTER, MEMORY, RAY, is_private
from pipeline.errors import InfrastructureError
from pipeline.messages import Message, Packed, pack, unpack
from pipeline.storage import open_store

_PROBE_SECONDS = 5.0
_LOOK_SECONDS = 10.0
_PASSED_ON = ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "UNROLL_FAILPOINTS", "UNROLL_FAILPOINTS_LOG")
"""Variables that workers get from who starts them, where they are set; keys and tokens are the nodes' own."""


@contextmanager
def connected(least_cpus: int = 1) -> Iterator[None]:
    """Join the cluster in `RAY_ADDRESS`, or start a private one on this machine and end it afterwards.

    Args:
        least_cpus: logical cores that a private one must offer, even where the machine has fewer.

    Raises:
        InfrastructureError: the cluster does not answer.
    """
    ray_worker._worker_logs_enabled = False  # its notices of dead workers, of ten lines each; `Trouble` says it in one
    if is_private():
        num_cpus = max(os.cpu_count() or 1, least_cpus)
        ray.init(
            address="local",
            num_cpus=num_cpus,
            include_dashboard=False,
            logging_config=_quiet(),
            log_to_driver=False,
            _system_config={"prestart_worker_first_driver": False},  # none would be used: ours have an environment of their own
        )
    else:
        _join(os.environ["RAY_ADDRESS"])
    try:
        yield
    finally:
        ray.shutdown()


def _quiet() -> ray.LoggingConfig:
    return ray.LoggingConfig(log_level="ERROR")


def _join(address: str) -> None:
    _probe(address)
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    code = {
        "py_modules": [module.__path__[0] for module in (models, pipeline)],
        "excludes": ["__pycache__"],
        "env_vars": {**RAY, **CLUSTER, **MEMORY, **passed_on},
    }
    try:
        if "://" not in address and ":" in address:
            # Answers at once whether the token is the cluster's; `init` tries for a minute.
            ray._raylet.GcsClient(address=address)
        ray.init(address=address, runtime_env=code, logging_config=_quiet(), log_to_driver=False)
    except (ConnectionError, RaySystemError, RayError, ValueError, RuntimeError) as error:
        raise InfrastructureError(
            f"RAY_ADDRESS={address}: the cluster does not take us in; {str(error).splitlines()[0]}; fix: use the cluster's "
            "token (RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH) and its versions of Ray and Python"
        ) from error


@dataclass(frozen=True)
class Node:
    """One machine of a cluster.

    Attributes:
        name: its address.
        cpus, gpus: what it offers.
        versions: package -> version, Python's among them; empty where it did not answer in time.
        sees_storage: whether it reads what this process wrote to the storage.
    """

    name: str
    cpus: int
    gpus: int
    versions: dict[str, str]
    sees_storage: bool


def look_around(storage: str) -> list[Node]:
    """Ask every node of the cluster that is joined what it is.

    Args:
        storage: the address of a store, in which a small file is left for as long as it takes.
    """
    store, name = open_store(storage), f"probe-{secrets.token_hex(4)}"
    store.write_text(name, name)
    alive = [node for node in ray.nodes() if node["Alive"]]
    asked = {}
    for node in alive:
        here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        asked[node["NodeID"]] = (
            ray.remote(_look).options(num_cpus=0, scheduling_strategy=here, max_retries=0).remote(storage, name)
        )
    ray.wait(list(asked.values()), num_returns=len(asked), timeout=_LOOK_SECONDS)
    nodes = []
    for node in alive:
        versions, sees_storage = {}, False
        with suppress(RayError):
            versions, sees_storage = ray.get(asked[node["NodeID"]], timeout=0)
        there = node["Resources"]
        where = f"{node['NodeManagerAddress']} ({node['NodeID'][:6]})"
        nodes.append(Node(where, int(there.get("CPU", 0)), int(there.get("GPU", 0)), versions, sees_storage))
    store.remove_text(name)
    return nodes


def _look(storage: str, name: str) -> tuple[dict[str, str], bool]:
    """Run on a node."""
    sees_storage = False
    with suppress(InfrastructureError):
        sees_storage = open_store(storage).read_text(name) == name
    return _versions(), sees_storage


def _versions() -> dict[str, str]:
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for package in ("torch", "ray"):
        with suppress(PackageNotFoundError):
            found[package] = version(package).partition("+")[0]
    return found


def is_on_loopback() -> bool:
    """Say whether all nodes of the cluster that is joined are on this machine, where nobody else reaches them."""
    return all(node["NodeManagerAddress"].startswith("127.") for node in ray.nodes() if node["Alive"])


def find_problems(nodes: list[Node], storage: str) -> list[str]:
    """Say what of the nodes would keep a training from running, each with its remedy."""
    ours = _versions()
    problems = []
    for node in nodes:
        if not node.versions:
            problems.append(f"node {node.name} did not answer within {_LOOK_SECONDS:g} s; fix: see its logs, or take it out")
            continue
        other = [
            f"{name} {node.versions.get(name, 'nothing')}, not {ours[name]}"
            for name in ours
            if node.versions.get(name) != ours[name]
        ]
        if other:
            problems.append(f"node {node.name} has {', '.join(other)}; fix: install requirements.lock there")
        if not node.sees_storage:
            problems.append(
                f"node {node.name} does not see {storage}; fix: set scaling.storage to a folder that all nodes see, or to "
                "s3://bucket/prefix, with its credentials in the node's environment"
            )
    return problems


def preflight(storage: str, scaling: ScalingConfig) -> None:
    """Look at the cluster that is joined before anything is started on it; a private one needs no look.

    Its size is known at once; what its nodes say of themselves takes seconds, and is asked only of one that is large enough.

    Raises:
        InfrastructureError: naming all that is wrong.
    """
    if is_private():
        return
    count_workers(scaling)
    problems = find_problems(look_around(storage), storage)
    if problems:
        raise InfrastructureError(f"RAY_ADDRESS={os.environ['RAY_ADDRESS']}: " + "\n".join(problems))


def count_workers(scaling: ScalingConfig) -> tuple[int, bool]:
    """Say how many training processes to start on the cluster that is joined, and whether each has a GPU.

    Raises:
        InfrastructureError: the cluster is smaller than what is asked for.
    """
    there = ray.cluster_resources()
    num_gpus, num_cpus = int(there.get("GPU", 0)), int(there.get("CPU", 1))
    if scaling.gpus_per_worker == 0:
        num_gpus = 0
    most = num_gpus or max(1, num_cpus // scaling.cpus_per_worker)
    if scaling.num_workers is None and (num_gpus or not scaling.gpus_per_worker):
        return (num_gpus, True) if num_gpus else (min(most, MOST_CPU_WORKERS), False)
    num_workers = scaling.num_workers or 1
    use_gpu = num_gpus >= num_workers
    needs_gpu, needs_cpus = scaling.gpus_per_worker == 1, num_workers * scaling.cpus_per_worker
    if (needs_gpu and not use_gpu) or (not use_gpu and needs_cpus > num_cpus):
        gpus = f" and {scaling.gpus_per_worker} GPU" if needs_gpu else ""
        raise InfrastructureError(
            f"scaling asks for {num_workers} workers of {scaling.cpus_per_worker} cores{gpus}; the cluster has {num_cpus} "
            f"cores and {num_gpus} GPUs; fix: lower scaling.num_workers or join a larger cluster in RAY_ADDRESS"
        )
    return num_workers, use_gpu


class ActorChannel:
    """A channel through a small actor on the cluster; see `pipeline.messages.Channel`. It holds back nobody who trains."""

    def __init__(self) -> None:
        self._box = ray.remote(_Box).options(num_cpus=0, max_restarts=-1).remote()
        self._answer: ray.ObjectRef | None = None

    def emit(self, message: Message) -> None:
        self._box.put.remote(pack(message))

    def must_stop(self) -> bool:
        """Say what the actor answered to the question before, and ask anew."""
        must_stop = False
        with suppress(RayError):
            if self._answer is not None and ray.wait([self._answer], timeout=0)[0]:
                must_stop, self._answer = ray.get(self._answer), None
        if self._answer is None:
            self._answer = self._box.is_stopped.remote()
        return must_stop

    def take(self) -> list[Message]:
        with suppress(RayError):
            return [unpack(message) for message in ray.get(self._box.take.remote(), timeout=_PROBE_SECONDS)]
        return []

    def ask_to_stop(self) -> None:
        self._box.stop.remote()


class _Box:
    def __init__(self) -> None:
        self._messages: list[Packed] = []
        self._is_stopped = False

    def put(self, message: Packed) -> None:
        self._messages.append(message)

    def take(self) -> list[Packed]:
        taken, self._messages = self._messages, []
        return taken

    def stop(self) -> None:
        self._is_stopped = True

    def is_stopped(self) -> bool:
        return self._is_stopped


def _probe(address: str) -> None:
    """Knock at the address: Ray itself would wait for minutes."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    if parts.hostname is None or parts.port is None:
        return  # `auto`: Ray finds a running cluster or says that there is none
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=_PROBE_SECONDS).close()
    except OSError as error:
        raise InfrastructureError(
            f"RAY_ADDRESS={address}: no cluster answers; {error}; fix: start one (`ray start --head`) or unset RAY_ADDRESS"
        ) from error
