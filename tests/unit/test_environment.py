"""The environment that Ray and MLflow read: what a person has set stays, and a cluster is met with its token."""

import os

import pytest

from pipeline.environment import set_environment


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """An environment of its own, put back afterwards."""
    monkeypatch.setattr(os, "environ", {})
    return os.environ


def test_nothing_is_sent_home():
    set_environment()
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0" and os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_what_is_set_stays_as_it_is(bare):
    bare["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = "7"
    set_environment()
    assert os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] == "7"


@pytest.mark.parametrize(
    ("address", "mode"), [("10.0.0.1:6379", "token"), ("ray://head:10001", "token"), ("local", None), ("", None), (None, None)]
)
def test_a_cluster_is_met_with_its_token(bare, address, mode):
    if address is not None:
        bare["RAY_ADDRESS"] = address
    set_environment()
    assert os.environ.get("RAY_AUTH_MODE") == mode


@pytest.mark.parametrize(
    ("address", "is_loopback"), [("", True), ("127.0.0.1:6379", True), ("ray://localhost:10001", True), ("10.1.2.3:6379", False)]
)
def test_ray_listens_on_loopback_alone_where_no_other_machine_takes_part(bare, address, is_loopback):
    bare["RAY_ADDRESS"] = address
    set_environment()
    assert ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" in bare) is is_loopback
