"""Where the time of a training step goes: some steps of a training under torch's profiler, in as many workers as it would have.

Nothing is saved and nothing tracked; the weights are thrown away.
"""

import os
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.console import Console
from rich.table import Table
from torch import distributed, multiprocessing
from torch.profiler import ProfilerActivity, profile

from models.config import ModelConfig
from pipeline.config import ScalingConfig, TrainConfig
from pipeline.job import Job, make_job
from pipeline.layout import Layout
from pipeline.loop import fit
from pipeline.messages import StepResult
from pipeline.worker import open_training

WARM_UP_STEPS = 20
STEPS = 50
_PART = "unroll: "
"""What `pipeline.loop` names the parts of a step by."""
_NUM_OPERATORS = 12


def run(model: ModelConfig, train: TrainConfig, scaling: ScalingConfig, layout: Layout) -> None:
    """Profile some steps and show the parts of a step and its dearest operators; a trace of all is left beside the model.

    Raises:
        ParamsError: the params do not fit the encoded corpus.
    """
    job = make_job(model, train, replace(scaling, storage=None), layout)  # all of it runs here
    num_gpus = torch.cuda.device_count()
    num_workers = scaling.num_workers or num_gpus or max(1, (os.cpu_count() or 1) // scaling.cpus_per_worker)
    trace = layout.checkpoint_dir / "profile.json"
    trace.parent.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with TemporaryDirectory() as folder:
        arguments = (num_workers, f"file://{folder}/meet", job, trace)
        multiprocessing.spawn(_worker, arguments, nprocs=num_workers)  # type: ignore[attr-defined,no-untyped-call]


def _worker(rank: int, num_workers: int, address: str, job: Job, trace: Path) -> None:
    torch.set_num_threads(job.num_threads)
    device = torch.device("cuda", rank) if torch.cuda.is_available() else torch.device("cpu")
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", address, rank=rank, world_size=num_workers)
    training, train, val, bio = open_training(job, device)
    steps = (result for result in fit(training, train, val, bio, device) if isinstance(result, StepResult))
    for _ in islice(steps, WARM_UP_STEPS):
        pass
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=kinds) as profiler:
        *_, last = islice(steps, STEPS)
    if rank == 0:
        profiler.export_chrome_trace(str(trace))
        _show(profiler, last.tokens_per_second, num_workers)
        print(f"every operator of these steps: {trace} (open it in Perfetto)")
    distributed.barrier()
    distributed.destroy_process_group()


def _show(profiler: profile, tokens_per_second: float, num_workers: int) -> None:
    events = profiler.key_averages()
    parts = {event.key.removeprefix(_PART): event.cpu_time_total for event in events if event.key.startswith(_PART)}
    total = sum(parts.values())
    table = Table(title=f"a step of worker 0 of {num_workers}, mean of {STEPS}, under the profiler", title_justify="left")
    for heading in ("part", "ms", "share"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    for name, microseconds in sorted(parts.items(), key=lambda item: -item[1]):
        table.add_row(name, f"{microseconds / STEPS / 1000:.2f}", f"{microseconds / total:.1%}")
    operators = Table(title="its dearest operators, without what they call", title_justify="left")
    for heading in ("operator", "calls", "ms"):
        operators.add_column(heading, justify="left" if heading == "operator" else "right")
    dearest = sorted((e for e in events if not e.key.startswith(_PART)), key=lambda event: -event.self_cpu_time_total)
    for event in dearest[:_NUM_OPERATORS]:
        operators.add_row(event.key, f"{event.count / STEPS:.1f}", f"{event.self_cpu_time_total / STEPS / 1000:.2f}")
    console = Console()
    console.print(table, operators, f"{tokens_per_second:,.0f} words/s so far, the profiler's own cost included")
