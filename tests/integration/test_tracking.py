"""What MLflow answers, and what it does not: a store that fails must never look like an empty one."""

import socket

import pytest
from mlflow import MlflowClient

from pipeline import tracking
from pipeline.errors import InfrastructureError
from pipeline.train import track_missing


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


def test_an_epoch_that_nobody_heard_of_is_tracked_once_all_the_same(empty_store):
    run = tracking.Run.start("some", "run", {}, {})
    run.log({"train/loss": 0.2}, step=2)
    for _ in range(2):
        track_missing(run, [{"epoch": 1.0, "train/loss": 0.3}, {"epoch": 2.0, "train/loss": 0.2}])
    points = MlflowClient(tracking.tracking_uri()).get_metric_history(run.run_id, "train/loss")
    assert sorted((point.step, point.value) for point in points) == [(1, 0.3), (2, 0.2)]


@pytest.mark.parametrize("ask", [tracking.champion, tracking.Run.find])
def test_a_server_that_does_not_answer_is_an_error_and_not_an_empty_store(dead_server, ask):
    with pytest.raises(InfrastructureError, match=r"MLflow failed.*fix:"):
        ask("somebody")
