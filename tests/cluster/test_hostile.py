"""What a stranger can reach or read of a real pipeline: who listens, what is written of secrets, whose models are run."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from project import Project
from ruamel.yaml import YAML
from servers import free_port

PASSWORD, TOKEN, KEY = "hunter2-of-the-store", "token-of-the-cluster-9f3a", "aws/secret+key/9f3a"
SECRETS = (PASSWORD, TOKEN, KEY, "aws%2Fsecret%2Bkey%2F9f3a")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("hostile"))


def listeners(pid):
    """List who listens where, (name, address), of a process and all that came from it."""
    found = set()
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return found
    for process in tree:
        try:
            sockets, name = process.net_connections("inet"), process.name().split(".")[0]
        except psutil.Error:
            continue
        found |= {(name, it.laddr.ip) for it in sockets if it.status == psutil.CONN_LISTEN}
    return found


def watched(process, until=lambda: False):
    """Follow a process until it ends, or something holds; gives all that listened meanwhile."""
    found = set()
    while process.poll() is None and not until():
        found |= listeners(process.pid)
        time.sleep(0.1)
    return found


def demand_loopback(found):
    off = {
        (name, address) for name, address in found if not address.removeprefix("::ffff:").startswith("127.") and address != "::1"
    }
    print("\n".join(f"{name:30} {address}" for name, address in sorted(found)))
    assert not off and found


def test_nothing_listens_off_loopback_while_workers_train(project):
    project.stages("fetch", "prepare", "encode")
    process = project.start("train", "-p", "toy")
    found = watched(process)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert any("RayTrainWorker" in name for name, _ in found)
    demand_loopback(found)


def test_nothing_of_a_small_cluster_listens_off_loopback_nor_do_those_who_train_on_it(project, tmp_path):
    own = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    (tmp_path / "token").write_text("0" * 64)
    cluster = project.start("cluster", "--nodes", "2", environment=own)
    try:
        said = iter(cluster.stdout.readline, "")
        address = next(line for line in said if "export RAY_ADDRESS=" in line).split("=")[1].strip()
        elsewhere = Project(tmp_path / "elsewhere")
        elsewhere.stages("fetch", "prepare", "encode")
        process = elsewhere.start("train", "-p", "toy", environment={**own, "RAY_ADDRESS": address})
        found = set()
        while process.poll() is None:
            found |= listeners(process.pid) | listeners(cluster.pid)
            time.sleep(0.1)
        _, err = process.communicate()
        assert process.returncode == 0, err
    finally:
        cluster.terminate()
        cluster.communicate(timeout=60)
    assert any("RayTrainWorker" in name for name, _ in found)
    demand_loopback(found)


def finished(project, command, *arguments, **environment):
    process = project.start(command, *arguments, environment=environment)
    out, err = process.communicate(timeout=300)
    return process.returncode, out + err


def places_of(folder, secrets):
    """Name each file of a folder that holds a secret."""
    held = [(path, path.read_bytes()) for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {f"{path}: {secret}" for path, content in held for secret in secrets if secret.encode() in content}


@pytest.fixture
def secret_environment():
    """Addresses with passwords in them, at which nobody answers, and tokens in the environment."""
    return {
        "MLFLOW_TRACKING_URI": f"http://ann:{PASSWORD}@127.0.0.1:{free_port()}",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "RAY_AUTH_TOKEN": TOKEN,
        "AWS_SECRET_ACCESS_KEY": KEY,
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_ENDPOINT_URL": f"http://bob:{PASSWORD}@127.0.0.1:{free_port()}",
    }


def test_no_secret_is_written_or_told_by_a_pipeline_that_ends_well(tmp_path, secret_environment):
    project = Project(tmp_path / "work")
    working = {name: value for name, value in secret_environment.items() if name != "MLFLOW_TRACKING_URI"}
    said = ""
    for stage in ("fetch", "prepare", "encode", "train", "evaluate", "register"):
        code, told = finished(project, stage, "-p", "toy", **working)
        assert code == 0, told
        said += told
    said += finished(project, "lineage", "toy@champion", **working)[1] + finished(project, "doctor", **working)[1]
    assert not [secret for secret in SECRETS if secret in said] and "version 1" in said
    assert places_of(project.folder, SECRETS) == set()


def test_no_secret_is_told_by_commands_that_fail(project, tmp_path, secret_environment):
    project.stages("fetch", "prepare", "encode", "train", "evaluate")
    commands = [
        ("doctor",),
        ("register", "-p", "toy"),
        ("train", "-p", "toy"),
        ("lineage", "toy@champion"),
        ("predict", "--model", "models:/toy@champion"),
        ("promote", "toy", "--version", "1"),
    ]
    for command in commands:
        code, told = finished(project, *command, **secret_environment)
        assert code != 0 and not [secret for secret in SECRETS if secret in told], told
        assert "127.0.0.1" in told
    assert places_of(project.folder, SECRETS) == set()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("corpora.yaml", {"kind": "url", "base": f"https://ann:{PASSWORD}@127.0.0.1/", "files": {}}, "corpora.drawn.source.base"),
        (
            "corpora.yaml",
            {"kind": "url", "base": f"https://127.0.0.1/?token={TOKEN}&x=/", "files": {}},
            "corpora.drawn.source.base",
        ),
        ("params.yaml", f"s3://ann:{PASSWORD}@bucket/prefix", "scaling.storage"),
    ],
    ids=["password", "token", "storage"],
)
def test_a_secret_in_the_settings_is_refused_unsaid(tmp_path, file, old, new):
    project = Project(tmp_path / "work")
    yaml, path = YAML(), tmp_path / "work" / file
    tree = yaml.load(path)
    if file == "corpora.yaml":
        tree["corpora"]["drawn"]["source"] = old
    else:
        tree["scaling"]["storage"] = old
    yaml.dump(tree, path)
    code, told = finished(project, "fetch", "-p", "toy")
    assert code == 2 and new in told and not [secret for secret in SECRETS if secret in told]
    assert places_of(project.folder / "data", SECRETS) == set() if (project.folder / "data").exists() else True


FORGE = """
import sys
from pathlib import Path

import mlflow
from mlflow.pyfunc import PythonModel

folder, canary, code = sys.argv[1:]


class Canary:
    def __reduce__(self):
        return Path.touch, (Path(canary),)


class Evil(PythonModel):
    def __init__(self):
        self.canary = Canary()

    def predict(self, model_input: list[str]) -> list[str]:
        return model_input


mlflow.pyfunc.save_model(folder, python_model=code or Evil(), pip_requirements=[])
"""
"""Saves a model that is pickled whole, with a canary that sings when it is unpickled, or one of code."""
EVIL_CODE = """
from pathlib import Path
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

Path({path!r}).touch()


class Evil(PythonModel):
    def predict(self, model_input: list[str]) -> list[str]:
        return model_input


set_model(Evil())
"""


def forge(folder, canary, kind):
    """Make a folder of a model that leaves a file where its code is run."""
    if kind == "bare":
        (folder / "artifacts" / "model").mkdir(parents=True)
        (folder / "artifacts" / "model" / "weights.pkl").write_bytes(b"cposix\nsystem\n(S'touch canary'\ntR.")
        (folder / "artifacts" / "model" / "manifest.json").write_text("{}")
        return
    code = folder.with_name("evil.py")
    code.write_text(EVIL_CODE.format(path=str(canary)))
    command = [sys.executable, "-c", FORGE, str(folder), str(canary), str(code) if kind == "code" else ""]
    subprocess.run(command, check=True, capture_output=True)
    assert (folder / "python_model.pkl").exists() == (kind == "pickle")


def registered(project, folder):
    """Make a folder a version of a model in the project's registry, as whoever may write there can."""
    client = project.client()
    client.create_registered_model("evil")
    client.create_model_version("evil", folder.as_uri())


@pytest.mark.parametrize("kind", ["pickle", "code", "bare"])
@pytest.mark.parametrize("command", ["predict", "verify"])
def test_a_registered_model_that_is_not_ours_is_not_run(tmp_path, kind, command):
    project, canary, folder = Project(tmp_path / "work"), tmp_path / "work" / "canary", tmp_path / "evil"
    forge(folder, canary, kind)
    canary.unlink(missing_ok=True)  # which saving a model of code has made
    registered(project, folder)
    model = ["--model", "models:/evil/1"] if command == "predict" else ["models:/evil/1"]
    code, told = finished(project, command, *model)
    assert code == 4 and "is no model of this project" in told and "Traceback" not in told
    assert not canary.exists()


def test_a_registered_model_whose_files_lie_elsewhere_reads_no_other_folder(tmp_path):
    project, own = Project(tmp_path / "work"), tmp_path / "private"
    own.mkdir()
    (own / "id_rsa").write_text("private")
    registered(project, own)
    code, told = finished(project, "predict", "--model", "models:/evil/1")
    assert code == 4 and "private" not in told.replace(str(own), "")


def test_what_a_person_serves_is_on_loopback():
    text = (Path(__file__).resolve().parents[2] / "Makefile").read_text()
    assert text.count("--host 127.0.0.1") == 2 and "0.0.0.0" not in text


def test_ports_of_the_machine_are_told_apart():
    """The instrument: a socket on all addresses is seen as such."""
    with socket.socket() as wide:
        wide.bind(("0.0.0.0", 0))
        wide.listen()
        with pytest.raises(AssertionError):
            demand_loopback(listeners(os.getpid()))
