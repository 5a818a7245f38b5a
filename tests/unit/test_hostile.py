"""What others made to have their code run, or to have this machine work itself to death: refused, and a canary stays away."""

import ast
import json
import os
import pickle
import struct
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import joblib
import numpy as np
import onnx
import pytest
import torch
from making import SMALL
from test_labeler import make_trained

from models.config import Sizes
from pipeline.errors import IntegrityError
from pipeline.examples import Examples
from pipeline.manifest import MANIFEST, write_manifest
from pipeline.predict import load
from pipeline.stored import open_array

ROOT = Path(__file__).resolve().parents[2]


class Canary:
    """Leaves a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


@pytest.fixture
def canary(tmp_path):
    path = tmp_path / "canary"
    pickle.loads(pickle.dumps(Canary(path)))
    assert path.exists()  # it sings where it is let
    path.unlink()
    yield Canary(path)
    assert not path.exists()


@pytest.fixture
def trained(tmp_path):
    make_trained(tmp_path)
    return tmp_path / "model"


@pytest.fixture
def exported(tmp_path):
    make_trained(tmp_path).export(tmp_path / "exported")
    return tmp_path / "exported"


def refused(folder, says):
    """Load a folder whose manifest is right, as whoever forged it can see to."""
    write_manifest(folder)
    with pytest.raises(IntegrityError, match=says) as caught:
        load(str(folder))
    assert caught.value.exit_code == 4 and str(folder) in str(caught.value) and "fix:" in str(caught.value)


def change(path, **sections):
    """Change what a JSON file says of some sections."""
    content = json.loads(path.read_text())
    for name, values in sections.items():
        content[name] = {**content[name], **values} if isinstance(values, dict) else values
    path.write_text(json.dumps(content))


def test_a_pickle_of_torch_in_place_of_weights(trained, canary):
    torch.save({"w": canary}, trained / "tensors.safetensors")
    refused(trained, "no safetensors file")


def test_a_pickle_as_the_header_of_weights(trained, canary):
    header = pickle.dumps(canary)
    (trained / "tensors.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 8)
    refused(trained, "no safetensors file")


def test_weights_whose_header_is_longer_than_any_memory(trained):
    (trained / "tensors.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
    refused(trained, "no safetensors file")


@pytest.mark.parametrize("name", ["meta.json", "vocab.json"])
def test_a_pickle_named_json(trained, exported, canary, name):
    for folder in (trained, exported):
        (folder / name).write_bytes(pickle.dumps(canary))
        refused(folder, f"{name}:1:1: can not be read")


def test_a_joblib_file_named_json(exported, canary):
    joblib.dump(canary, exported / "vocab.json")
    refused(exported, "can not be read")


def test_a_pickle_in_place_of_a_graph(exported, canary):
    (exported / "network.onnx").write_bytes(pickle.dumps(canary))
    refused(exported, "no graph that can be run")


@pytest.mark.parametrize("place", ["../../../../../../etc/passwd", "/etc/passwd", "link"])
def test_a_graph_that_reads_a_file_outside_its_folder(exported, tmp_path, place):
    (tmp_path / "secret").write_bytes(b"secret " * 1000)
    (exported / "link").symlink_to("../secret")
    graph = onnx.load(exported / "network.onnx")
    weights = max(graph.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    onnx.external_data_helper.set_external_data(weights, place, offset=0, length=len(weights.raw_data))
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    (exported / "network.onnx").write_bytes(graph.SerializeToString())
    refused(exported, "no graph that can be run")


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("sizes", {"num_words": 10**13}),
        ("sizes", {"num_chars": 10**13}),
        ("sizes", {"num_labels": 10**13}),
        ("sizes", {"features": {"capitalisation": 10**13, "tag": 4}, "num_words": 5, "targets": {}}),
        ("sizes", {"vector_size": 10**13}),
        ("sizes", {"targets": 5}),
        ("sizes", {"task": "poetry"}),
        ("sizes", {"surprise": 1}),
        ("model", {"hidden": [10**9]}),
        ("model", {"hidden": [5] * 100_000}),
        ("model", {"hidden": []}),
        ("model", {"hidden": "x"}),
        ("model", {"word_size": 10**13}),
        ("model", {"char_hidden": 10**9}),
        ("model", {"cell": "os.system"}),
        ("model", {"surprise": 1}),
        ("max_length", -5),
        ("max_length", "all"),
    ],
    ids=str,
)
def test_what_is_said_of_a_model_and_is_absurd(trained, section, values):
    if "features" in (values if isinstance(values, dict) else ()):
        change(trained / "meta.json", model={"features": {"capitalisation": 3}})
    change(trained / "meta.json", **{section: values})
    refused(trained, "is not what this project writes")


@pytest.mark.parametrize("values", [{"labels": [1, 2, 3]}, {"chars": ["<pad>", "<unk>", "two"]}, {"surprise": 1}, {"labels": []}])
def test_vocabularies_that_are_none(exported, values):
    change(exported / "vocab.json", **values)
    refused(exported, "is not what this project writes")


def test_a_manifest_that_names_files_outside(exported, tmp_path):
    (tmp_path / "outside").write_text("a")
    content = json.loads((exported / MANIFEST).read_text())
    (exported / MANIFEST).write_text(json.dumps({**content, "../outside": "0" * 64}))
    with pytest.raises(IntegrityError, match=r"outside:1:1: is not what was written; sha256 nothing"):
        load(str(exported))


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "5", "{", '{"meta.json": {}}'])
def test_a_manifest_that_is_none(exported, text):
    (exported / MANIFEST).write_text(text)
    with pytest.raises(IntegrityError):
        load(str(exported))


def object_array(path, canary):
    np.save(path, np.array([canary], object), allow_pickle=True)


def archive_of_arrays(path, canary):
    with path.open("wb") as file:
        np.savez(file, a=np.array([canary], object))


def bare_pickle(path, canary):
    path.write_bytes(pickle.dumps(canary))


def joblib_file(path, canary):
    joblib.dump(canary, path)


def longer_than_it_is(path, _):
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<i8", "fortran_order": False, "shape": (1 << 50,)})
        file.write(b"\0" * 80)


@pytest.mark.parametrize("write", [object_array, archive_of_arrays, bare_pickle, joblib_file, longer_than_it_is])
def test_an_array_that_is_none(tmp_path, canary, write):
    write(tmp_path / "offsets.npy", canary)
    with pytest.raises(IntegrityError, match=r"offsets\.npy: is no \.npy of numbers"):
        open_array(tmp_path / "offsets.npy")
    (tmp_path / "train").mkdir()
    (tmp_path / "offsets.npy").rename(tmp_path / "train" / "offsets.npy")
    with pytest.raises(IntegrityError):
        Examples.open(tmp_path, "train")


def test_a_model_as_it_should_be_is_taken(trained, exported):
    for folder in (trained, exported):
        write_manifest(folder)
        assert load(str(folder)).sizes == Sizes.load(asdict(load(str(folder)).sizes)) and load(str(folder)).config == SMALL


FORBIDDEN = {"pickle", "cloudpickle", "joblib", "dill", "shelve", "marshal", "torch.load", "pyfunc.load_model", "eval", "exec"}
FORBIDDEN |= {"os.system", "np.load", "yaml.unsafe_load"}


def named(node):
    """Name what a piece of code calls or imports."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {node.module or ""}
    if isinstance(node, ast.Call):
        whole = ast.unparse(node.func)
        return {whole, ".".join(whole.split(".")[-2:])} | {
            f"allow_pickle={ast.unparse(it.value)}" for it in node.keywords if it.arg == "allow_pickle"
        }
    return set()


def test_nothing_here_reads_a_pickle_or_runs_what_it_reads():
    found = {}
    for path in [*(ROOT / "pipeline").glob("*.py"), *(ROOT / "models").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            wrong = named(node) & (FORBIDDEN | {"allow_pickle=True"})
            if wrong and not (path.name == "keras.py" and "allow_pickle=False" in named(node)):
                found[f"{path.name}:{node.lineno}"] = wrong
    assert found == {}


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
SETTINGS = {
    "python tag": ("pipelines: !!python/object/apply:os.system ['touch canary']\n", "params.yaml:1:12: "),
    "unknown tag": ("pipelines:\n  pos: !surprise {a: 1}\n", "params.yaml:2:8: "),
    "laughs": (BOMB, "params.yaml:2:8: "),
    "merged": ("a: &a {x: 1}\nb:\n  <<: *a\n", "params.yaml:3:7: "),
    "deep": ("a: " + "[" * 200_000, "params.yaml:1:24: "),
    "deep blocks": ("- " * 100_000, "params.yaml:1:41: "),
    "huge": (1 << 32, "params.yaml:1:1: "),
    "one number": ("pipelines: " + "9" * 200_000, "params.yaml:1:12: "),
}


def ended(folder):
    """Run a command in a folder; gives its exit code, what it said, its seconds of work and its megabytes."""
    with (folder / "said").open("w") as said:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "summary", "-p", "none"], cwd=folder, env=environment, stderr=said
        )
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, (folder / "said").read_text(), used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """What a command costs that ends at an unknown pipeline in files that are right."""
    folder = tmp_path_factory.mktemp("plain")
    for name in ("params.yaml", "corpora.yaml"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    code, said, seconds, megabytes = ended(folder)
    assert code == 2 and "--pipeline none" in said
    return seconds, megabytes


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("file", ["params.yaml", "corpora.yaml"])
def test_settings_that_are_a_trap_are_refused_at_their_line_at_once(tmp_path, plain, file, name):
    content, place = SETTINGS[name]
    for other in ("params.yaml", "corpora.yaml"):
        (tmp_path / other).write_bytes((ROOT / other).read_bytes())
    if isinstance(content, int):
        os.truncate(tmp_path / file, content)
    else:
        (tmp_path / file).write_text(content)
    code, said, seconds, megabytes = ended(tmp_path)
    assert code == 2 and place.replace("params.yaml", file) in said and "fix:" in said and "Traceback" not in said
    assert seconds < plain[0] + 1 and megabytes < plain[1] + 100
    assert not (tmp_path / "canary").exists()
