"""Everything on S3: encoded data, checkpoints and the run's id in `scaling.storage`, models and reports through MLflow's server.

The servers are real processes on this machine's loopback: moto's, which speaks S3, and MLflow's own. It takes minutes.
"""

import hashlib
import json
import re
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from project import Project
from servers import free_port, mlflow_server, served, wait_until

from pipeline.errors import InfrastructureError
from pipeline.manifest import check_manifest, write_manifest
from pipeline.storage import open_store

boto3 = pytest.importorskip("boto3", reason="boto3 is missing: pip install unroll[dev]")
pytest.importorskip("moto", reason="moto is missing: pip install unroll[dev]")

BUCKET = "bucket"
EPOCHS = 3
KEYS = {"AWS_ACCESS_KEY_ID": "dummy", "AWS_SECRET_ACCESS_KEY": "dummy", "AWS_DEFAULT_REGION": "us-east-1"}
BEFORE_TRAIN, AFTER_TRAIN = ("fetch", "prepare", "encode"), ("evaluate", "register")


class S3:
    """A server that speaks S3, with one bucket.

    Attributes:
        environment: what a command needs to use it.
    """

    def __init__(self, port, process):
        url = f"http://127.0.0.1:{port}"
        self.process = process
        self.environment = {**KEYS, "AWS_ENDPOINT_URL": url, "MLFLOW_S3_ENDPOINT_URL": url}
        key, secret, region = KEYS.values()
        self.client = boto3.client(
            "s3", endpoint_url=url, aws_access_key_id=key, aws_secret_access_key=secret, region_name=region
        )
        self.client.create_bucket(Bucket=BUCKET)

    def sizes(self, prefix=""):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", [])}

    def names(self, prefix=""):
        return sorted(self.sizes(prefix))

    def read(self, name):
        return self.client.get_object(Bucket=BUCKET, Key=name)["Body"].read()


@contextmanager
def s3_server(folder, **environment):
    port = free_port()
    command = [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with served(command, f"http://127.0.0.1:{port}/moto-api/", folder / "moto.log", **environment) as process:
        yield S3(port, process)


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="module")
def environment(s3, tmp_path_factory):
    """What a command needs: MLflow's server, too, whose artifacts are in the bucket."""
    folder = tmp_path_factory.mktemp("mlflow")
    with mlflow_server(folder, f"sqlite:///{folder / 'mlflow.db'}", f"s3://{BUCKET}/mlflow", **s3.environment) as url:
        yield {**s3.environment, "MLFLOW_TRACKING_URI": url}


def run(project, command, environment, *arguments, text=None):
    process = project.start(command, *(arguments or ("-p", "toy")), environment=environment)
    out, err = process.communicate(text, timeout=300)
    return process.returncode, out, err


def make(folder, environment, prefix=None):
    """Make a project up to its training; equal ones at one prefix would share it."""
    storage = None if prefix is None else f"s3://{BUCKET}/{prefix}"
    project = Project(folder, scaling={"storage": storage, "max_failures": 3}, epochs=EPOCHS, checkpoint_steps=5)
    for stage in BEFORE_TRAIN:
        status, _, err = run(project, stage, environment)
        assert status == 0, err
    return project


def with_failpoints(project, *points):
    return {"UNROLL_FAILPOINTS": "; ".join(points), "UNROLL_FAILPOINTS_LOG": str(project.folder / "failpoints.log")}


def struck(project):
    path = project.folder / "failpoints.log"
    return path.read_text().splitlines() if path.exists() else []


def weights_of(project):
    return hashlib.sha256((project.folder / "data/toy/model/tensors.safetensors").read_bytes()).hexdigest()


def end(processes):
    for process in processes:
        if process.is_running():
            process.kill()
    psutil.wait_procs(processes, timeout=10)


def epochs_of(environment, run_id):
    from mlflow import MlflowClient

    client = MlflowClient(environment["MLFLOW_TRACKING_URI"])
    return client.get_run(run_id).info.status, [point.step for point in client.get_metric_history(run_id, "train/loss")]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The weights of a training on this disk that nobody disturbs."""
    project = make(tmp_path_factory.mktemp("unbroken"), {})
    project.stages("train")
    return weights_of(project)


@pytest.fixture(scope="module")
def finished(s3, environment, tmp_path_factory):
    """A project on S3 after all its stages, one of whose workers was killed, and what was there right after its training."""
    project = make(tmp_path_factory.mktemp("finished"), environment, "store")
    point = "worker 1, step 20=kill"
    status, _, err = run(project, "train", environment | with_failpoints(project, point))
    assert status == 0, err
    assert struck(project) == [point] and "was killed, or its machine was lost" in " ".join(err.split())
    left = sorted(path.relative_to(project.folder).as_posix() for path in project.folder.glob(".unroll/**/*") if path.is_file())
    sizes = s3.sizes("store/")
    for stage in AFTER_TRAIN:
        status, _, err = run(project, stage, environment)
        assert status == 0, err
    return project, left, sizes


def test_a_worker_killed_while_all_is_on_s3_changes_no_weight(finished, unbroken):
    assert weights_of(finished[0]) == unbroken


def test_the_registered_champion_is_loaded_and_labels(finished, environment):
    registered = finished[0].json("registry.json")
    assert (registered["version"], registered["alias"]) == ("1", "champion")
    status, out, err = run(finished[0], "predict", environment, "--model", "models:/toy@champion", text="bado leza moso\n")
    assert status == 0, err
    assert [line.split("\t")[:2] for line in out.splitlines() if "\t" in line] == [
        ["bado", "VERB"],
        ["leza", "NOUN"],
        ["moso", "ADJ"],
    ]


def test_after_training_nothing_of_it_is_left_on_this_disk(finished):
    assert finished[1] == []


def test_the_storage_keeps_the_encoded_data_and_no_checkpoint_of_a_finished_training(finished):
    names = [name for name, size in finished[2].items() if size]
    assert {name.split("/")[1] for name in names} == {"encoded"}
    assert sum(name.endswith("/manifest.json") for name in names) == 1
    empty = {name.split("/")[1] for name in finished[2]} - {"encoded", ""}
    assert empty == {"ray"}  # Ray Train tries whether it may write there


def test_what_mlflow_keeps_are_objects_in_the_bucket(finished, s3):
    project, names = finished[0], s3.names("mlflow/")
    assert any(name.endswith("/MLmodel") for name in names) and any(name.endswith("/report/confusion.png") for name in names)
    (network,) = [name for name in names if name.endswith("/artifacts/model/network.onnx")]
    manifest = json.loads(s3.read(network.replace("network.onnx", "manifest.json")))
    assert hashlib.sha256(s3.read(network)).hexdigest() == manifest["network.onnx"]
    assert not (project.folder / "mlartifacts").exists() and not (project.folder / "mlflow.db").exists()


def test_a_driver_killed_in_mid_training_goes_on_from_s3_in_the_same_run(s3, environment, unbroken, tmp_path):
    project = make(tmp_path, environment, "killed")
    process = project.start("train", "-p", "toy", environment=environment | with_failpoints(project, "worker 0, step 70=stop"))
    wait_until(lambda: struck(project))
    children = psutil.Process(process.pid).children(recursive=True)
    wait_until(lambda: any(child.status() == psutil.STATUS_STOPPED for child in children))
    process.kill()
    process.communicate()
    end(children)
    there = s3.names("killed/checkpoints/")
    assert any("/step-00001-" in name for name in there)
    assert not list(project.folder.glob(".unroll/**/*.safetensors"))
    run_id = json.loads(s3.read(next(name for name in there if name.endswith("/run.json"))))["run_id"]

    status, out, err = run(project, "train", environment)

    assert status == 0, err
    assert re.search(rf"goes on in epoch 2 after step \d+, in run {run_id}", " ".join(out.split()))
    assert project.json("model/meta.json")["run_id"] == run_id
    assert epochs_of(environment, run_id) == ("FINISHED", list(range(1, EPOCHS + 1)))
    assert weights_of(project) == unbroken
    assert s3.names("killed/checkpoints/") == []


def test_a_server_that_pauses_for_some_seconds_changes_nothing(s3, environment, unbroken, tmp_path):
    project = make(tmp_path, environment, "paused")
    process = project.start("train", "-p", "toy", environment=environment)
    wait_until(lambda: any("/step-" in name for name in s3.names("paused/checkpoints/")))
    s3.process.send_signal(signal.SIGSTOP)
    time.sleep(5)
    s3.process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert weights_of(project) == unbroken


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    return make(tmp_path_factory.mktemp("encoded"), {}, "store")


@contextmanager
def wrong_keys(folder):
    with s3_server(folder, INITIAL_NO_AUTH_ACTION_COUNT="1") as server:  # it asks nobody for a key who makes the bucket
        yield server.environment


@contextmanager
def dead_endpoint(folder):
    yield {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}


@contextmanager
def missing_bucket(folder):
    with s3_server(folder) as server:
        server.client.delete_bucket(Bucket=BUCKET)
        yield server.environment


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        (wrong_keys, "The AWS Access Key Id you provided does not exist"),
        (dead_endpoint, "Could not connect to the endpoint URL"),
        (missing_bucket, "The specified bucket does not exist"),
    ],
)
def test_a_storage_that_is_not_to_be_had_is_told_soon_with_a_fix(encoded, tmp_path, trouble, says):
    with trouble(tmp_path) as environment:
        begun = time.monotonic()
        status, _, err = run(encoded, "train", environment)
    assert status == 6, err
    assert says in err and "fix: see the address, the bucket, the credentials" in err and "Traceback" not in err
    assert time.monotonic() - begun < 20
    assert not (encoded.folder / "mlflow.db").exists()


def test_a_folder_on_s3_is_replaced_read_and_removed_whole(s3, monkeypatch):
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    store = open_store(f"s3://{BUCKET}/whole")
    assert store.names() == [] and store.read_text("run.json") is None
    for files in ({"a.bin": b"\0" * 120_000_000, "sub/old.txt": b"old"}, {"a.bin": b"a", "sub/new.txt": b"new"}):  # 100 MB: parts
        with store.writing("step-1") as folder:
            (folder / "sub").mkdir()
            for path, content in files.items():
                (folder / path).write_bytes(content)
            write_manifest(folder)
        with store.reading("step-1") as folder:
            assert check_manifest(folder).keys() == files.keys()
    store.write_text("run.json", "{}")
    assert store.names() == ["step-1"] and store.read_text("run.json") == "{}"
    s3.client.delete_object(Bucket=BUCKET, Key="whole/step-1/manifest.json")
    assert store.names() == [] and s3.names("whole/")
    store.remove()
    assert s3.names("whole/") == []
    with pytest.raises(InfrastructureError, match="bucket does not exist"):
        open_store("s3://no-such-bucket/whole").names()
