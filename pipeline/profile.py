"""Where the time of a training step goes: some steps of a training under torch's profiler, in as many workers as it would have.

Nothing is saved and nothing tracked; the weights are thrown away.
"""

from dataclasses import replace
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from models.config import ModelConfig
from pipeline.config import ScalingConfig, TrainConfig
from pipeline.job import make_job
from pipeline.layout import Layout
from pipeline.loop import fit
from pipeline.messages import StepResult
from pipeline.profile_plots import Operator, StepTimes, plot_step
from pipeline.rehearsal import Here, num_workers_here, rehearse

WARM_UP_STEPS = 20
STEPS = 50
_PART = "unroll: "
"""What `pipeline.loop` names the parts of a step by."""
_NUM_OPERATORS = 12


def run(model: ModelConfig, train: TrainConfig, scaling: ScalingConfig, layout: Layout) -> None:
    """Profile some steps and show the parts of a step and its dearest operators; a picture of both and a trace are left.

    Raises:
        ParamsError: the params do not fit the encoded corpus.
    """
    job = make_job(model, train, replace(scaling, storage=None), layout)  # all of it runs here
    folder = layout.work_dir / "profile" / layout.pipeline
    folder.mkdir(parents=True, exist_ok=True)
    rehearse(job, num_workers_here(scaling), look, folder, layout.pipeline)


def look(here: Here, folder: Path, pipeline: str) -> None:
    """Profile one worker's steps; the first shows its own, and leaves `trace.json` and `step.svg`."""
    results = fit(here.training, here.train, here.val, here.bio, here.device)
    steps = (result for result in results if isinstance(result, StepResult))
    for _ in islice(steps, WARM_UP_STEPS):
        pass
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if here.device.type == "cuda" else [])]
    with profile(activities=kinds) as profiler:
        *_, last = islice(steps, STEPS)
    if here.rank > 0:
        return
    trace, picture = folder / "trace.json", folder / "step.svg"
    profiler.export_chrome_trace(str(trace))
    times = _times(profiler)
    title = f"a step of worker 0 of {here.num_workers}, mean of {STEPS}, under the profiler"
    _show(times, title, last.tokens_per_second)
    plot_step(times, f"{pipeline}: {title}", picture)
    print(f"where the time of a step goes: {picture}")
    print(f"every operator of these steps: {trace} (open it in Perfetto)")


def _times(profiler: profile) -> StepTimes:
    events = profiler.key_averages()
    parts = {event.key.removeprefix(_PART): event.cpu_time_total for event in events if event.key.startswith(_PART)}
    dearest = sorted((e for e in events if not e.key.startswith(_PART)), key=lambda event: -event.self_cpu_time_total)
    return StepTimes(
        {name: microseconds / STEPS / 1000 for name, microseconds in sorted(parts.items(), key=lambda item: -item[1])},
        [Operator(e.key, e.count / STEPS, e.self_cpu_time_total / STEPS / 1000) for e in dearest[:_NUM_OPERATORS]],
    )


def _show(times: StepTimes, title: str, tokens_per_second: float) -> None:
    table = Table(title=title, title_justify="left")
    for heading in ("part", "ms", "share"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    for name, milliseconds in times.parts.items():
        table.add_row(name, f"{milliseconds:.2f}", f"{milliseconds / times.total:.1%}")
    operators = Table(title="its dearest operators, without what they call", title_justify="left")
    for heading in ("operator", "calls", "ms"):
        operators.add_column(heading, justify="left" if heading == "operator" else "right")
    for operator in times.operators:
        operators.add_row(operator.name, f"{operator.calls:.1f}", f"{operator.milliseconds:.2f}")
    console = Console()
    console.print(table, operators, f"{tokens_per_second:,.0f} words/s so far, the profiler's own cost included")
