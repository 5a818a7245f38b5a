"""What MLflow answers, and what it does not: a store that fails must never look like an empty one."""

import socket

import pytest

from pipeline import tracking
from pipeline.errors import InfrastructureError


@pytest.fixture
def dead_server(monkeypatch):
    """A tracking server at a port where nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture
def empty_store(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")


def test_what_is_not_in_the_store_is_nothing(empty_store):
    assert tracking.champion("nobody") is None
    assert tracking.Run.find("0" * 32) is None
    with pytest.raises(LookupError):
        tracking.download_model("models:/nobody@champion")


@pytest.mark.parametrize("ask", [tracking.champion, tracking.Run.find])
def test_a_server_that_does_not_answer_is_an_error_and_not_an_empty_store(dead_server, ask):
    with pytest.raises(InfrastructureError, match=r"MLflow failed.*fix:"):
        ask("somebody")
