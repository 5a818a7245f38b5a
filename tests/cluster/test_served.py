"""A registered model at work where nothing of this project is installed, and as a server that is sent what it can not read."""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import requests
from project import Project
from servers import free_port, served

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))

from mutation import mutate

ASK = """
import json, mlflow, sys
from importlib.util import find_spec
model = mlflow.pyfunc.load_model(sys.argv[1])
answers = model.predict(json.loads(sys.argv[2]), params={"probabilities": True, "tokens": True})
print(json.dumps({"answers": answers, "there": [name for name in ("torch", "ray", "dvc", "onnx") if find_spec(name)]}))
"""
WORDS = ["bbado", "cceza", "ddoso", "Never seen", "ffente", "文", "ggado"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = Project(tmp_path_factory.mktemp("served"))
    made.stages("fetch", "prepare", "encode", "train", "evaluate", "register")
    return made


@pytest.fixture(scope="module")
def model(project):
    """The registered model's folder."""
    return next((project.folder / "mlartifacts" / "models").iterdir()) / "artifacts"


@pytest.fixture(scope="module")
def python(model, tmp_path_factory):
    """Python in an environment with the model's own requirements alone."""
    folder = tmp_path_factory.mktemp("environment") / "own"
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    asked = ["--python", folder / "bin" / "python", "-r", model / "requirements.txt"]
    subprocess.run([uv, "pip", "install", "--quiet", *asked], check=True)
    return folder / "bin" / "python"


def _alone(**variables):
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return {**kept, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", **variables}


def test_a_registered_model_answers_as_the_trained_network_where_only_its_requirements_are(project, model, python, tmp_path):
    texts = [json.dumps(WORDS[:size]) for size in range(1, len(WORDS) + 1)]
    command = [python, "-I", "-c", ASK, model, json.dumps(texts)]
    done = subprocess.run(command, env=_alone(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["there"] == []
    from pipeline.labeler import Labeler

    trained = Labeler.load(project.folder / "data" / "toy" / "model", "torch").label_words([json.loads(text) for text in texts])
    for one, other in zip(found["answers"], trained, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)
        assert {**one, "probabilities": 0} == {**other, "probabilities": 0}


@pytest.fixture(scope="module")
def address(model, python, tmp_path_factory):
    """The address of a server in that environment."""
    port = free_port()
    command = [python.with_name("mlflow"), "models", "serve", "--model-uri", model, "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    environment = {"PATH": f"{python.parent}:{os.environ['PATH']}", "PYTHONPATH": "", "UNROLL_REQUEST_CHARACTERS": "1000000"}
    with served(command, f"{url}/ping", tmp_path_factory.mktemp("log") / "serve.log", **_alone(**environment)):
        yield f"{url}/invocations"


JSON = "application/json"
BAD = {
    "cut short": ('{"inputs": [', JSON, "valid JSON"),
    "no body": ("", JSON, "valid JSON"),
    "bytes that are not UTF-8": (b'{"inputs": ["\xff\xfe"]}', JSON, "UnicodeDecodeError"),
    "no inputs": ("{}", JSON, "'inputs' key"),
    "another key": ('{"texts": ["a"]}', JSON, "'inputs' key"),
    "a number for a text": ('{"inputs": [1]}', JSON, "type hint"),
    "null for a text": ('{"inputs": [null]}', JSON, "type hint"),
    "a list for a text": ('{"inputs": [["a"]]}', JSON, "type hint"),
    "a text for a list": ('{"inputs": "a"}', JSON, "Expected list"),
    "10 MB": (json.dumps({"inputs": ["bbado " * 1_700_000]}), JSON, "1,000,000 are allowed"),
    "a param of another type": ('{"inputs": ["a"], "params": {"tokens": "maybe"}}', JSON, "Invalid parameters"),
    "words that are no JSON": ('{"inputs": ["a"], "params": {"tokens": true}}', JSON, "no JSON list of words"),
    "another kind of content": ("a", "text/html", "content types"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_request_that_can_not_be_read_is_refused_with_the_reason_and_the_server_goes_on(address, name):
    body, kind, reason = BAD[name]
    answer = requests.post(address, data=body, headers={"Content-Type": kind}, timeout=30)
    assert 400 <= answer.status_code < 500 and reason in answer.text
    good = requests.post(address, json={"inputs": ["bbado cceza"]}, timeout=30)
    assert good.status_code == 200 and good.json()["predictions"][0]["labels"] == ["VERB", "NOUN"]


def test_mutated_requests_are_answered_or_refused_and_the_server_goes_on(address):
    whole = b'{"inputs": ["bbado cceza", "[\\"ddoso\\", \\"ffente\\"]"], "params": {"probabilities": true, "tokens": false}}'
    rng, found = random.Random(0), Counter()
    with requests.Session() as session:
        for _ in range(500):
            body = mutate(whole, rng)
            answer = session.post(address, data=body, headers={"Content-Type": JSON}, timeout=30)
            assert answer.status_code == 200 or 400 <= answer.status_code < 500, (body, answer.text)
            found[answer.status_code] += 1
        good = session.post(address, json={"inputs": ["bbado cceza"]}, timeout=30)
    assert good.json()["predictions"][0]["labels"] == ["VERB", "NOUN"] and found[200] > 0 and found.total() - found[200] > 100


def test_probabilities_come_when_they_are_asked_for(address):
    asked = {"inputs": ["bbado"], "params": {"probabilities": True}}
    (answer,) = requests.post(address, json=asked, timeout=30).json()["predictions"]
    assert len(answer["probabilities"]) == 1 and 0 < answer["probabilities"][0] <= 1


def test_a_model_that_was_altered_is_not_served(model, python, tmp_path):
    copy = tmp_path / "model"
    subprocess.run(["cp", "-r", model, copy], check=True)
    vocab = copy / "artifacts" / "model" / "vocab.json"
    vocab.write_text(vocab.read_text(encoding="utf-8").replace("VERB", "NOUN"), encoding="utf-8")
    command = [python, "-I", "-c", ASK, copy, '["[]"]']
    done = subprocess.run(command, env=_alone(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "vocab.json:1:1: is not what was written" in done.stderr
