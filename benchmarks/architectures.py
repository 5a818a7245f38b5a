"""Cells, depths and directions at one number of parameters, each with several seeds: a sweep on English EWT's universal tags.

Run as `python benchmarks/architectures.py`; it goes on where it was ended. What is searched stands in architectures.yaml.
"""

import subprocess
import sys
from pathlib import Path

from corpora import HERE, make_project

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    folder = ROOT / ".unroll" / "architectures"
    make_project(folder, HERE / "architectures.yaml")
    sys.exit(subprocess.run([sys.executable, "-m", "pipeline", "sweep"], cwd=folder, check=False).returncode)


if __name__ == "__main__":
    main()
