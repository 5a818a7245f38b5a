"""A small Ray cluster on this machine, for trying what runs on a large one: several nodes, all on loopback."""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.environment import CLUSTER, HEAD, LOOPBACK, RAY

_PAUSE_SECONDS = 3600


def run(num_nodes: int, cpus_per_node: int) -> None:
    """Start nodes, say how to reach them, and end them with this process, whether by Ctrl-C or SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    with nodes(num_nodes, cpus_per_node) as cluster:
        print(
            f"{num_nodes} nodes of {cpus_per_node} cores on this machine; Ctrl-C ends them. In another terminal:\n\n"
            f"    export RAY_ADDRESS={cluster.address}\n    unroll doctor\n\n"
            f"RAY_ADDRESS={client_address(cluster)} is the same by Ray's client, as from a machine outside. "
            "Its token is in ~/.ray/auth_token, where this user's commands find it.",
            flush=True,
        )
        while True:
            time.sleep(_PAUSE_SECONDS)


@contextmanager
def nodes(num_nodes: int, cpus_per_node: int) -> Iterator[Any]:
    """Give a running cluster, as a context: Ray's own for tests, to which nodes can be added and from which they can be taken."""
    before = dict(os.environ)
    os.environ.update(RAY | CLUSTER | HEAD | LOOPBACK)  # before Ray is imported
    from ray._private.authentication.authentication_token_setup import ensure_token_if_auth_enabled
    from ray.cluster_utils import Cluster

    ensure_token_if_auth_enabled(create_token_if_missing=True)
    cluster = Cluster()
    try:
        for number in range(num_nodes):
            of_head = {} if number else {"ray_client_server_port": _free_port()}
            cluster.add_node(num_cpus=cpus_per_node, include_dashboard=False, **of_head)
        cluster.wait_for_nodes()
        yield cluster
    finally:
        cluster.shutdown()
        os.environ.clear()
        os.environ.update(before)  # what is started later is no part of the cluster


def client_address(cluster: Any) -> str:
    """Give the address at which Ray's client finds a cluster of `nodes`."""
    return f"ray://127.0.0.1:{cluster.head_node._ray_params.ray_client_server_port}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
