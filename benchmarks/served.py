"""Registered models in an environment of their own: what it takes to run them, and how far they are from the trained networks.

    python benchmarks/served.py pos topic

Makes a new environment with the model's own requirements alone, loads `models:/<name>@champion` in it, and asks it a thousand
drawn batches and the whole test split, beside the network in data/<name>/model. It wants the store and the data of `dvc repro`.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pipeline import versions
from pipeline.config import CAPITALISATION
from pipeline.parity import Asked, draw_batches
from pipeline.plans import plan_batches
from pipeline.scoring import Split
from pipeline.trained import TorchEngine, Trained

INSIDE = """
import json, sys, time
from importlib.util import find_spec
import mlflow, numpy as np
start = time.perf_counter()
labeler = mlflow.pyfunc.load_model(sys.argv[1]).unwrap_python_model()._labeler
seconds = time.perf_counter() - start
from dataclasses import replace
from pipeline.examples import Examples
worst, num, others = 0.0, 0, 0
for path in sys.argv[2:]:
    given = np.load(path)
    own = {key.partition("/")[2]: given[key] for key in given if key.startswith("column/")}
    examples = Examples(given["offsets"], tokens=given.get("tokens"), values=given.get("values"), per_token=own)
    forms = None
    if "forms" in given:
        rows, forms = labeler.engine.read_forms(given["forms"].tolist(), labeler.vocab)
        examples = replace(examples, tokens=rows[examples.tokens].astype(np.int32))
    ends = given["ends"]
    for number, rows in enumerate(np.split(given["rows"], ends[:-1])):
        for name, output in labeler.engine.run(examples, forms, rows).heads.items():
            real = output.real(examples.lengths[rows])
            worst = max(worst, float(np.abs(real.logits - given[f"logits/{name}/{number}"]).max()))
            others += int((real.labels != given[f"labels/{name}/{number}"]).sum())
            num += len(real.labels)
status = open("/proc/self/status").read()
print(json.dumps({"load_seconds": round(seconds, 2), "labels": num, "other_labels": others, "worst_logit_difference": worst,
    "peak_mb": int(status.partition("VmHWM:")[2].split()[0]) // 1024, "torch": find_spec("torch") is not None}))
"""


def dump(name: str, folder: Path) -> list[str]:
    """Write what is asked, and what the trained network says of it; returns the files."""
    data = Path("data") / name
    trained = Trained.load(data / "model")
    vocab, sizes = trained.vocab, trained.network.sizes
    columns = [column for column in trained.network.config.features if column != CAPITALISATION]
    lengths, drawn = draw_batches(1000)
    split = Asked.of_split(Split.read(data / "prepared", "test"), vocab, columns)
    sets = {"drawn": (Asked.draw(lengths, vocab, sizes, columns), drawn), "test": (split, plan_batches(split.lengths, 2000))}
    engine, files = TorchEngine(trained.network), []
    for kind, (asked, batches) in sets.items():
        examples, forms = asked.encoded(engine, vocab)
        given = {"offsets": examples.offsets, "rows": np.concatenate(batches), "ends": np.cumsum([len(rows) for rows in batches])}
        given |= {f"column/{column}": ids for column, ids in examples.per_token.items()}
        if asked.forms is not None:
            given |= {"tokens": asked.examples.tokens, "forms": np.array(asked.forms, dtype=np.str_)}
        if examples.values is not None:
            given["values"] = examples.values
        for number, rows in enumerate(batches):
            for head, output in engine.run(examples, forms, rows).heads.items():
                real = output.real(asked.lengths[rows])
                given |= {f"logits/{head}/{number}": real.logits, f"labels/{head}/{number}": real.labels}
        files.append(str(folder / f"{name}_{kind}.npz"))
        np.savez(files[-1], **given)
    return files


def make_environment(requirements: Path, folder: Path) -> tuple[Path, list[str]]:
    """Install requirements into a new environment; returns its Python, and the sizes of what is largest in it."""
    subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run(["uv", "pip", "install", "--quiet", "--python", str(python), "-r", str(requirements)], check=True)
    sizes = subprocess.run(["du", "-sm", str(folder)], capture_output=True, text=True, check=True).stdout.split()[0]
    listed = subprocess.run(["uv", "pip", "list", "--python", str(python), "--format", "json"], capture_output=True, check=True)
    return python, [sizes, str(len(json.loads(listed.stdout)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["pos", "topic"])
    with TemporaryDirectory() as place:
        for name in parser.parse_args().names:
            model = versions.download_model(f"models:/{name}@champion").parent.parent
            requirements = model / "requirements.txt"
            python, (megabytes, packages) = make_environment(requirements, Path(place) / name)
            files = dump(name, Path(place))
            clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
            command = [str(python), "-I", "-c", INSIDE, str(model), *files]
            done = subprocess.run(command, env=clean, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            asked = ", ".join(requirements.read_text(encoding="utf-8").split())
            print(f"{name}: {asked}; {packages} packages, {megabytes} MB; {done.stdout.strip().splitlines()[-1]}", flush=True)


if __name__ == "__main__":
    main()
