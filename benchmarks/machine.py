"""What the benchmarks ran on, and whether it was busy with something else."""

import os
import platform
import re
import statistics
import subprocess
from pathlib import Path

import psutil
import torch

BUSY = 0.1
"""Share of the processor's time that others take before a round, from which the output says so."""


def describe() -> dict[str, str | int]:
    """Name processor, cores, memory, versions and the commit."""
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text()) if Path("/proc/cpuinfo").exists() else None
    git = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=Path(__file__).parent)
    return {
        "processor": found[1] if found else platform.processor(),
        "cores": os.cpu_count() or 1,
        "memory_mb": psutil.virtual_memory().total // 10**6,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": git.stdout.strip(),
    }


class Watch:
    """Looks before each contender at what the machine does without us."""

    def __init__(self) -> None:
        self._shares: list[float] = []
        self._start = psutil.cpu_times()

    def look(self, seconds: float = 0.3) -> None:
        self._shares.append(psutil.cpu_percent(interval=seconds) / 100)

    def summary(self) -> dict[str, float | bool]:
        """Give the share of the processor that others took between our processes, and that the host took away."""
        now = psutil.cpu_times()
        spent = {name: getattr(now, name) - getattr(self._start, name) for name in now._fields}
        stolen = spent.get("steal", 0.0) / max(sum(spent.values()), 1e-9)
        others = statistics.mean(self._shares) if self._shares else 0.0
        load = os.getloadavg()[0]
        return {"others": others, "stolen": stolen, "load": load, "is_busy": others > BUSY or stolen > BUSY / 2}
