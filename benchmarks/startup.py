"""How long commands take before and after their work: from `unroll train` to its first tracked epoch, and each stage's imports.

Run as `python benchmarks/startup.py [ROUNDS]`. A training of one epoch of a small drawn corpus in one worker is all start-up
and shut-down: the first epoch's line is the first that is printed of it, so its few steps count as start-up, too.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "integration")]
STAGES = ("fetch", "prepare", "encode", "train", "evaluate", "register", "predict", "summary")
IMPORT = "import time; begun = time.perf_counter(); import pipeline.{}; print(time.perf_counter() - begun)"


def measure(rounds: int = 3) -> dict[str, Any]:
    """Give medians of seconds: `train_to_first_epoch`, `train_end_to_exit`, and `imports` by stage, all in fresh processes."""
    from project import Project

    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder) / "toy", num_workers=1, epochs=1)
        project.stages("fetch", "prepare", "encode")
        trainings = [_time_training(project) for _ in range(rounds)]
    started, ended = zip(*trainings, strict=True)
    return {
        "train_to_first_epoch": statistics.median(started),
        "train_end_to_exit": statistics.median(ended),
        "imports": {stage: statistics.median(_time_import(stage) for _ in range(rounds)) for stage in STAGES},
    }


def _time_training(project: Any) -> tuple[float, float]:
    """Time from the process's creation to its first line, and from there to its exit."""
    begun = time.perf_counter()
    process = project.start("train", "-p", "toy")
    line = process.stdout.readline()
    shown = time.perf_counter()
    _, errors = process.communicate()
    assert line and process.returncode == 0, errors
    return shown - begun, time.perf_counter() - shown


def _time_import(stage: str) -> float:
    command = [sys.executable, "-c", IMPORT.format(stage)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout)


def main() -> None:
    """Print a table."""
    found = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    rows = {
        "train: start to first epoch": found["train_to_first_epoch"],
        "train: first epoch to exit": found["train_end_to_exit"],
    }
    for name, seconds in {**rows, **{f"import {stage}": seconds for stage, seconds in found["imports"].items()}}.items():
        print(f"{name:28} {seconds:6.2f} s")


if __name__ == "__main__":
    main()
