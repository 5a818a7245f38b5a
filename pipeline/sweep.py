"""Many trainings, one winner: trials of the networks that params.yaml's `sweep` names, and the best of them registered.

The driver alone writes to MLflow: a parent run, and a child per trial. The best trial that ran to its end is evaluated on
the test split, gated and registered like any other model, and its params are offered as a change to params.yaml, which
`unroll adopt` makes. A sweep that was stopped or killed goes on when it is called again.
"""

import json
import os
import secrets
import shutil
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from models.config import Sizes
from pipeline import evaluate, register
from pipeline.adopt import Proposal
from pipeline.budget import TOLERANCE, num_parameters
from pipeline.cluster import connected, preflight
from pipeline.config import CorpusConfig, PipelineConfig, ScalingConfig, SweepConfig
from pipeline.errors import InfrastructureError, ParamsError, StoppedError
from pipeline.job import Job, hash_of, make_job
from pipeline.layout import Layout
from pipeline.space import SECTIONS, Chosen, Space
from pipeline.storage import join
from pipeline.study import Study
from pipeline.tracking import Run, git_commit
from pipeline.train import alone, publish, write_model
from pipeline.trials import Ledger, Trial
from pipeline.tuning import Asker, Place, Trials, search

_FREE = ("trials", "max_failures")
"""Keys of `sweep` that may change while the same sweep goes on."""


def run(
    name: str, pipeline: PipelineConfig, corpus: CorpusConfig, config: SweepConfig, scaling: ScalingConfig, layout: Layout
) -> None:
    """Search, register the best, and print the change to params.yaml; go on where an earlier call was ended.

    Raises:
        InfrastructureError: no trial came to its end, another process runs this sweep, or the cluster will not do.
        ParamsError: the params do not fit the encoded corpus, or the budget some network.
        StoppedError: a person stopped it, and it goes on when it is run again.
    """
    if os.environ.get("RAY_ADDRESS", "").startswith("ray://"):
        raise InfrastructureError(
            "RAY_ADDRESS is a Ray client's, through which Ray Tune would move the sweep's driver to the cluster, away from "
            "params.yaml and MLflow; fix: give host:port, on a machine that the cluster's nodes reach"
        )
    base = make_job(pipeline.model, replace(pipeline.train, epochs=config.epochs), scaling, layout)
    key = hash_of([{k: value for k, value in asdict(config).items() if k not in _FREE}, base.key])
    folder = (layout.work_dir / "sweeps" / name / key).resolve()
    home = str(folder) if scaling.storage is None else join(scaling.storage, "sweeps", name, key)
    sizes = Sizes.load(json.loads((layout.encoded_dir / "summary.json").read_text(encoding="utf-8"))["sizes"])
    space = Space.of(config.space, pipeline, corpus)
    place = Place(base, space, home, sizes, config.budget.parameters if config.budget else None)
    _check_budget(place)
    with alone(folder):
        ledger = Ledger(folder)
        tracked = _Tracked(name, place, config, ledger)
        try:
            _run_trials(place, config, ledger, tracked, folder, scaling)
            best = _best(ledger)
            job = place.job(best.number, best.chosen)
            changes = _changes(pipeline, job)
            _show(ledger, base.train.monitor)
            if ledger.facts.get("registered") != best.number:
                _register(pipeline, corpus, job, tracked.child(best), layout, folder)
                ledger.note(registered=best.number)
            tracked.parent.log({"best/score": best.best or 0.0})
            tracked.parent.tag({"best_trial": str(best.number), "best_params": json.dumps(changes)})
            tracked.parent.end()
        except BaseException as error:
            tracked.parent.end("KILLED" if isinstance(error, KeyboardInterrupt | StoppedError) else "FAILED")
            raise
    Proposal(name, changes).save(layout)
    print(f"\nthe best network as a change to params.yaml, which `unroll adopt -p {name}` makes:\n")
    Proposal(name, changes).show(sys.stdout)


def _check_budget(place: Place) -> None:
    """Refuse a budget that some network can not come near.

    Raises:
        ParamsError: naming every such network.
    """
    if place.budget is None:
        return
    shaping = {name: choice for name, choice in place.space.choices.items() if not name.startswith("train.")}
    wrong = []
    for chosen in replace(place.space, choices=shaping).grid():
        found = num_parameters(place.job(0, chosen).model, place.sizes)
        if abs(found - place.budget) > TOLERANCE * place.budget:
            wrong.append(f"{_told(chosen)} has {found:,}")
    if wrong:
        raise ParamsError(
            f"params.yaml: sweep.budget.parameters is {place.budget:,}; the nearest of {'; '.join(wrong)}, which is over "
            f"{TOLERANCE:.0%} off; fix: raise it, or take out what these networks share"
        )


class _Tracked:
    """The runs of a sweep: taken up where they are there, by their tags, so that none is begun twice."""

    def __init__(self, name: str, place: Place, config: SweepConfig, ledger: Ledger) -> None:
        if "token" not in ledger.facts:
            ledger.note(token=secrets.token_hex(6))
        self._name, self._place, self._token = name, place, ledger.facts["token"]
        self.parent = self._taken_up(f"{name}-sweep", asdict(config), {"kind": "sweep"}, None)

    def child(self, trial: Trial) -> Run:
        """Give the run of a trial."""
        job = self._place.job(trial.number, trial.chosen)
        return self._taken_up(f"trial-{trial.number}", job.params, {"trial": str(trial.number)}, self.parent.run_id)

    def _taken_up(self, title: str, params: dict[str, Any], tags: dict[str, str], parent: str | None) -> Run:
        tags = {**tags, "sweep": self._token}
        further = {"pipeline": self._name, "git_commit": git_commit()}
        return Run.find_tagged(self._name, tags) or Run.start(self._name, title, params, tags | further, parent)


def _run_trials(
    place: Place, config: SweepConfig, ledger: Ledger, tracked: _Tracked, folder: Path, scaling: ScalingConfig
) -> None:
    """Run those that are not at their end."""
    ended = [trial for trial in ledger.trials.values() if trial.state != "running"]
    begun = [trial.number for trial in ledger.trials.values() if trial.state == "running"]
    numbers = begun + list(range(len(ledger.trials) + 1, config.trials + 1))
    if not numbers:
        return
    if ledger.trials:
        _console().print(f"goes on after {len(ended)} of {config.trials} trials; {len(begun)} had begun")
    study = Study(place.space, config, ended)
    trials = Trials(place, ledger, study, tracked.child, _Teller(len(ended), config.trials))
    asker = Asker(trials, numbers)
    if asker.first is None:
        return
    with connected(least_cpus=place.base.num_threads):
        preflight(scaling.storage or place.base.encoded.rpartition("/")[0])
        publish(place.base)
        search(trials, asker, place, config, folder)
    trials.leave()
    if any(trial.state == "running" for trial in ledger.trials.values()):
        raise StoppedError("the sweep was stopped; run it again to go on")


class _Teller:
    """Tells of each trial that ends, and how long the rest will take."""

    def __init__(self, num_ended: int, num_trials: int) -> None:
        self._num_before, self._num_ended, self._num_trials, self._begun = num_ended, num_ended, num_trials, time.monotonic()

    def __call__(self, trial: Trial) -> None:
        self._num_ended += 1
        each = (time.monotonic() - self._begun) / (self._num_ended - self._num_before)
        left = each * (self._num_trials - self._num_ended) / 60
        score = "no score" if trial.best is None else f"best {trial.best:.4f}"
        text = f"trial {trial.number} {trial.state} after {len(trial.scores)} epochs, {score}: {_told(trial.chosen)}"
        text += f"; {self._num_ended} of {self._num_trials} ended, about {left:.0f} min left" if left else ""
        _console().print(text + (f"\n  {trial.problem.splitlines()[-1]}" if trial.problem else ""), soft_wrap=True)


def _best(ledger: Ledger) -> Trial:
    whole = [trial for trial in ledger.trials.values() if trial.state == "finished"]
    if not whole:
        raise InfrastructureError("no trial of the sweep came to its end; fix: see each trial's error in its run in MLflow")
    return max(whole, key=lambda trial: (trial.best, -trial.number))


def _register(pipeline: PipelineConfig, corpus: CorpusConfig, job: Job, tracked: Run, layout: Layout, folder: Path) -> None:
    """Take the best trial's model through evaluate and register, in a folder beside the pipeline's own."""
    own = replace(layout, data_dir=folder / "data")
    shutil.rmtree(own.data_dir, ignore_errors=True)
    own.prepared_dir.parent.mkdir(parents=True)
    own.prepared_dir.symlink_to(layout.prepared_dir.resolve())
    write_model(job, tracked, own.model_dir)
    evaluate.run(corpus.task, own)
    register.run(corpus.task, pipeline.corpus, pipeline.register, own)
    tracked.end()


def _changes(pipeline: PipelineConfig, job: Job) -> dict[str, dict[str, Any]]:
    """Name the keys in which a trial differs from the pipeline's own params."""
    changed = {}
    for section in SECTIONS:
        old, new = asdict(getattr(pipeline, section)), asdict(getattr(job, section))
        changed[section] = {k: list(v) if isinstance(v, tuple) else v for k, v in new.items() if v != old[k]}
    return {section: keys for section, keys in changed.items() if keys}


def _told(chosen: Chosen) -> str:
    return ", ".join(f"{name.rpartition('.')[2]} {_short(value)}" for name, value in chosen.items())


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _show(ledger: Ledger, monitor: str) -> None:
    table = Table(title="trials, best first", box=SIMPLE, padding=(0, 1, 0, 0))
    trials = sorted(ledger.trials.values(), key=lambda trial: (trial.best is None, -(trial.best or 0.0)))
    keys = list(dict.fromkeys(name for trial in trials for name in trial.chosen))
    for heading in ("rank", "trial", f"val/{monitor}", "parameters", "epochs", "seconds", "state"):
        table.add_column(heading, justify="left" if heading == "state" else "right")
    for name in keys:
        table.add_column(name.rpartition(".")[2])
    for rank, trial in enumerate(trials, start=1):
        score = "" if trial.best is None else f"{trial.best:.4f}"
        chosen = [_short(trial.chosen[name]) if name in trial.chosen else "" for name in keys]
        counts = f"{trial.parameters:,}", str(len(trial.scores)), f"{trial.seconds:.0f}"
        table.add_row(str(rank), str(trial.number), score, *counts, trial.state, *chosen)
    _console().print(table)


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)
