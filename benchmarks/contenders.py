"""Who is measured: how each is started, and what it reports, in one form for all."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from corpora import PlainFiles
from processes import Event, events, lines, of_kind

from pipeline.gradients import has_bfloat16

OURS, PLAIN, RANDOM, REFERENCE = "ours", "plain torch", "plain torch, random", "reference"
OURS_LOW, PLAIN_LOW = f"{OURS}, bfloat16", f"{PLAIN}, bfloat16"
HERE = Path(__file__).parent
TORCH_CELLS = {"lstm": "LSTM", "gru": "GRU", "simple_rnn": "RNN"}


@dataclass(frozen=True)
class Work:
    """What all contenders are to do.

    Attributes:
        pipeline: in benchmarks/params.yaml.
        cell, layers: of its network.
        epochs: passes over train.
        steps: of an epoch, from its beginning; 0 for all.
        seed: of everything drawn.
        until: plain torch ends with the first epoch of this validation accuracy.
    """

    pipeline: str = "ewt"
    cell: str = "lstm"
    layers: int = 1
    epochs: int = 1
    steps: int = 0
    seed: int = 1
    until: float = 1.0

    def arguments(self) -> list[str]:
        return [f"--{name}={getattr(self, name)}" for name in ("layers", "epochs", "steps", "seed")]


@dataclass
class Outcome:
    """What one run of one contender gave; lists in the order they came."""

    train: list[float] = field(default_factory=list)
    """Words per second of each epoch's training."""
    inference: list[float] = field(default_factory=list)
    """Words per second from encoded words to scores."""
    text_inference: list[float] = field(default_factory=list)
    """The same from words as text to labels as text."""
    val: list[tuple[float, float]] = field(default_factory=list)
    """Seconds since the start of the process, and validation accuracy, after each epoch."""
    first_step_seconds: float | None = None
    examples_per_word: float = 0.0
    peak_mb: float | None = None
    test: float | None = None

    def seconds_to(self, score: float) -> float | None:
        return next((at for at, val in self.val if val >= score), None)


@dataclass(frozen=True)
class Place:
    """Where everything is: the scratch project, and the plain files of its pipelines."""

    project: Path
    files: dict[str, PlainFiles]


def ours(place: Place, work: Work, precision: str = "float32") -> Outcome:
    """Run our loop in a gloo worker per core."""
    workers = f"--workers={min(os.cpu_count() or 1, 4)}"
    command = [str(HERE / "ours.py"), f"--project={place.project}", f"--pipeline={work.pipeline}", f"--cell={work.cell}", workers]
    return _outcome(events([*command, f"--precision={precision}", *work.arguments()]))


def ours_low(place: Place, work: Work) -> Outcome:
    return ours(place, work, "bfloat16")


def plain(place: Place, work: Work, batches: str = "bucketed", precision: str = "float32", lr: float = 2e-3) -> Outcome:
    """Run the bar, with as many threads as we have workers."""
    how = [f"--cell={TORCH_CELLS[work.cell]}", f"--batches={batches}", f"--threads={min(os.cpu_count() or 1, 4)}"]
    return _outcome(
        events(
            [
                str(HERE / "plain_torch.py"),
                *place.files[work.pipeline].arguments(),
                *how,
                f"--precision={precision}",
                f"--lr={lr}",
                *work.arguments(),
                f"--until={work.until}",
            ]
        )
    )


def plain_low(place: Place, work: Work) -> Outcome:
    return plain(place, work, precision="bfloat16")


def plain_random(place: Place, work: Work) -> Outcome:
    return plain(place, work, "random")


CONTENDERS: dict[str, Callable[[Place, Work], Outcome]] = {
    OURS: ours,
    OURS_LOW: ours_low,
    PLAIN: plain,
    PLAIN_LOW: plain_low,
    RANDOM: plain_random,
}


def able(names: Iterable[str]) -> list[str]:
    """Leave out who would multiply in bfloat16 where this processor does not."""
    return [name for name in names if name not in (OURS_LOW, PLAIN_LOW) or has_bfloat16(torch.device("cpu"))]


def _outcome(found: list[Event]) -> Outcome:
    data, epochs, end = of_kind(found, "data")[0], of_kind(found, "epoch"), of_kind(found, "end")[0]
    inference = of_kind(found, "inference")
    return Outcome(
        train=[event["words_per_second"] for event in epochs],
        inference=[event["encoded"] for event in inference],
        text_inference=[event["text"] for event in inference if "text" in event],
        val=[(event["at"], event["val"]) for event in epochs if "val" in event],
        first_step_seconds=of_kind(found, "first_step")[0]["at"],
        examples_per_word=data["examples"] / data["words"],
        peak_mb=end["peak_mb"],
        test=end["test"],
    )


EPOCH_LINE = re.compile(r": epoch +(\d+) of .* val/accuracy ([\d.]+) +([\d,]+) words/s")


def unroll_train(place: Place, pipeline: str) -> Outcome:
    """Run `unroll train`, Ray, MLflow and all, and read the lines that it prints."""
    shutil.rmtree(place.project / ".unroll", ignore_errors=True)
    outcome = Outcome()
    for at, line in lines(["-m", "pipeline", "train", "-p", pipeline], cwd=place.project):
        if found := EPOCH_LINE.search(line):
            outcome.val.append((at, float(found[2])))
            outcome.train.append(float(found[3].replace(",", "")))
    return outcome


def reference_script() -> Path | None:
    """Find the script that the bar was taken from, where there is one."""
    mirror = os.environ.get("UNROLL_MIRROR")
    path = Path(mirror).parent / "reference" / "plain_torch.py" if mirror else None
    return path if path is not None and path.exists() else None


def reference(place: Place, work: Work) -> Outcome:
    """Run that script, bucketed; it knows whole epochs only, and leaves its model where it runs."""
    script, files = reference_script(), place.files[work.pipeline]
    assert script is not None
    pattern = files.train.resolve().with_name(files.train.name.replace("train", "%s"))
    sizes = [f"--cell={TORCH_CELLS[work.cell]}", f"--layers={work.layers}", f"--epochs={work.epochs}", f"--seed={work.seed}"]
    how = ["--words=padded", "--chars=packed", "--bucket=1", f"--threads={min(os.cpu_count() or 1, 4)}"]
    found = []
    for at, line in lines([str(script), f"--data={pattern}", *sizes, *how], cwd=place.project):
        if line.startswith("@@ "):
            found.append(_reference_event(at, line.removeprefix("@@ ")))
    epochs = of_kind(found, "epoch")
    return Outcome(
        train=[event["tok_s"] for event in epochs],
        inference=[event["tok_s"] for event in of_kind(found, "infer")],
        val=[(event["at"], event["dev"] / 100) for event in epochs],
        first_step_seconds=of_kind(found, "first_step")[0]["at"],
        test=epochs[-1]["test"] / 100,
    )


def _reference_event(at: float, text: str) -> Event:
    event = json.loads(text)
    return event | {"event": event["ev"], "at": at}
