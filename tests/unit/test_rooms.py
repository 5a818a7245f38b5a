"""The directions between the rooms, and what dvc.yaml says each stage uses, against the imports themselves."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("fetch", "prepare", "encode", "train", "evaluate", "register")
SECTIONS = {"split", "encode", "model", "train", "register", "vectors", "corpus"}


def _imports(path):
    """List the modules of the project that a file imports or hands on by name, those for type checks left out."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("models", "pipeline"):
            for name in node.names:
                whole = ROOT / f"{node.module}.{name.name}".replace(".", "/")
                part = ROOT / node.module.replace(".", "/")
                found |= {file for file in (whole.with_suffix(".py"), part.with_suffix(".py")) if file.exists()}
        elif isinstance(node, ast.Constant) and node.value == "served.py":
            found.add(ROOT / "pipeline" / "served.py")
    return found


def _closure(path):
    seen, left = set(), [path]
    while left:
        file = left.pop()
        if file not in seen:
            seen.add(file)
            left += [] if file.name == "served.py" else _imports(file)  # MLflow loads it; nothing here does
    return {str(file.relative_to(ROOT)) for file in seen}


def _stage(name):
    return YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"][name]["do"]


@pytest.mark.parametrize("name", STAGES)
def test_the_code_that_dvc_watches_is_what_the_stage_imports(name):
    watched = {dep for dep in _stage(name)["deps"] if dep.endswith(".py")}
    imported = _closure(ROOT / "pipeline" / f"{name}.py")
    if name != "register":
        imported.discard("pipeline/served.py")
    assert watched == imported


@pytest.mark.parametrize("name", STAGES)
def test_the_params_that_dvc_watches_are_what_the_command_hands_on(name):
    tree = ast.parse((ROOT / "pipeline" / "stage_commands.py").read_text(encoding="utf-8"))
    command = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    used = {
        node.attr
        for node in ast.walk(command)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "params"
    }
    params = [entry for entry in _stage(name).get("params", []) if isinstance(entry, str)]
    watched = {entry.removeprefix("pipelines.${key}.") for entry in params}
    assert used == watched and used <= SECTIONS


@pytest.mark.parametrize("path", sorted((ROOT / "models").glob("*.py")), ids=lambda path: path.name)
def test_models_imports_nothing_of_pipeline(path):
    assert not {file for file in _imports(path) if file.parent.name == "pipeline"}


@pytest.mark.parametrize("name", STAGES)
def test_no_stage_imports_another(name):
    others = {f"pipeline/{other}.py" for other in STAGES if other != name}
    assert not others & _closure(ROOT / "pipeline" / f"{name}.py")


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("pipeline.params", ("torch", "ray", "mlflow", "pydantic", "polars")),
        ("pipeline.__main__", ("torch", "ray", "mlflow", "polars")),
        ("pipeline.loop", ("ray", "mlflow", "polars", "pydantic", "ruamel")),
        ("pipeline.fetch", ("torch", "ray", "mlflow", "polars", "pandas")),
        ("pipeline.prepare", ("torch", "ray", "mlflow", "sklearn", "pandas")),
        ("pipeline.encode", ("torch", "ray", "mlflow", "sklearn", "pandas")),
        ("pipeline.evaluate", ("ray", "mlflow", "sklearn", "matplotlib", "pandas")),
        ("pipeline.register", ("ray", "mlflow", "sklearn", "matplotlib", "pandas")),
        ("pipeline.predict", ("ray", "mlflow", "sklearn", "matplotlib", "pandas")),
        ("pipeline.files", ("torch", "onnxruntime", "ray", "mlflow", "sklearn", "matplotlib", "pandas")),
    ],
)
def test_importing_a_module_does_not_bring_what_it_does_without(module, heavy):
    code = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
