"""Many trainings, one winner: trials of the networks that params.yaml's `sweep` names, and the best of them registered.

The search finds the finalists, and further seeds tell what is better among them from what had luck. The driver alone writes to
MLflow: a parent run, and a child per trial. The smallest network that may be as good as the best is evaluated on the test split,
gated and registered like any other model, and its params are offered as a change to params.yaml, which `unroll adopt` makes. A
sweep that was stopped or killed goes on when it is called again.
"""

import json
import os
import secrets
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from io import StringIO
from pathlib import Path
from typing import Any

from models.config import Sizes
from pipeline import evaluate, register
from pipeline.adopt import Proposal
from pipeline.board import Board, console, show_trials, show_verdict, told
from pipeline.budget import TOLERANCE, num_parameters
from pipeline.cluster import connected, preflight
from pipeline.config import CorpusConfig, PipelineConfig, ScalingConfig, SweepBudget, SweepConfig
from pipeline.errors import InfrastructureError, ParamsError, StoppedError
from pipeline.finals import Repeats, Verdict, judge, num_finalists, repeated
from pipeline.job import Job, hash_of, make_job
from pipeline.layout import Layout
from pipeline.scoring import Split
from pipeline.space import SECTIONS, Chosen, Space
from pipeline.storage import join
from pipeline.study import Study
from pipeline.sweep_report import PAGE, Findings, write_report
from pipeline.tracking import Run, git_commit
from pipeline.train import alone, publish, write_model
from pipeline.trials import Ledger, Trial
from pipeline.tuning import Asker, Chooser, Place, Trials, run_trials

_FREE = ("trials", "seeds", "finalists", "workers_per_trial", "max_failures")
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
    together = replace(scaling, num_workers=config.workers_per_trial, min_workers=None)
    place = Place(base, together, space, home, sizes, config.budget or SweepBudget())
    _check_budget(place)
    with alone(folder):
        search = _Phase("trial", place, Ledger(folder))
        finals = _Phase("repeat", place.beside("finals"), Ledger(folder / "finals"))
        tracked = _Tracked(name, config, search.ledger)
        try:
            with ExitStack() as stack:
                start = cache(partial(_start, base, together, stack))
                chooser = Study(space, config, search.ended)
                _run_phase(search, chooser, config.trials, config, tracked, start)
                finalists = _finalists(search.ledger, config)
                wanted = [again for trial in finalists for again in repeated(trial.chosen, base.train.seed, config.seeds)]
                new = [chosen for chosen in wanted if finals.find(chosen) is None]
                _run_phase(finals, Repeats(new), len(finals.ledger.trials) + len(new), config, tracked, start)
            verdict = _judge(finals, finalists, config, base, layout)
            best = verdict.proposed.trial if verdict else finalists[0]
            job = place.job(best.number, best.chosen)
            changes = _changes(pipeline, job)
            show_trials(search.ledger.trials.values(), base.train.monitor)
            if verdict:
                show_verdict(verdict)
            if search.ledger.facts.get("registered") != best.number:
                _register(pipeline, corpus, job, tracked.child(search, best), layout, folder)
                search.ledger.note(registered=best.number)
            write_report(_findings(name, search, finals, chooser, verdict, Proposal(name, changes)), folder / "report")
            tracked.parent.keep(folder / "report", "report")
            tracked.parent.log({"best/score": best.best or 0.0})
            tracked.parent.tag({"best_trial": str(best.number), "best_params": json.dumps(changes)})
            tracked.parent.end()
        except BaseException as error:
            tracked.parent.end("KILLED" if isinstance(error, KeyboardInterrupt | StoppedError) else "FAILED")
            raise
    Proposal(name, changes).save(layout)
    print(f"\nreport: {os.path.relpath(folder / 'report' / PAGE)}")
    print(f"\nthe best network as a change to params.yaml, which `unroll adopt -p {name}` makes:\n")
    Proposal(name, changes).show(sys.stdout)


@dataclass(frozen=True)
class _Phase:
    """Trials of one kind: those of the search, or their repetitions with other seeds.

    Attributes:
        kind: `trial` or `repeat`.
        place: where they run.
        ledger: what is known of them.
    """

    kind: str
    place: Place
    ledger: Ledger

    @property
    def ended(self) -> list[Trial]:
        """Those that are at their end."""
        return [trial for trial in self.ledger.trials.values() if trial.state != "running"]

    def find(self, chosen: Chosen) -> Trial | None:
        """Give the trial of a sample."""
        sought = json.dumps(chosen)
        return next((trial for trial in self.ledger.trials.values() if json.dumps(trial.chosen) == sought), None)


class _Tracked:
    """The runs of a sweep: taken up where they are there, by their tags, so that none is begun twice."""

    def __init__(self, name: str, config: SweepConfig, ledger: Ledger) -> None:
        if "token" not in ledger.facts:
            ledger.note(token=secrets.token_hex(6))
        self._name, self._token = name, ledger.facts["token"]
        self.parent = self._taken_up(f"{name}-sweep", asdict(config), {"kind": "sweep"}, None)

    def child(self, phase: _Phase, trial: Trial) -> Run:
        """Give the run of a trial."""
        job = phase.place.job(trial.number, trial.chosen)
        tags = {"kind": phase.kind, "trial": str(trial.number)}
        return self._taken_up(f"{phase.kind}-{trial.number}", job.params, tags, self.parent.run_id)

    def _taken_up(self, title: str, params: dict[str, Any], tags: dict[str, str], parent: str | None) -> Run:
        tags = {**tags, "sweep": self._token}
        further = {"pipeline": self._name, "git_commit": git_commit()}
        return Run.find_tagged(self._name, tags) or Run.start(self._name, title, params, tags | further, parent)


def _start(base: Job, scaling: ScalingConfig, stack: ExitStack) -> None:
    """Find or start Ray, until the end of `stack`, and lay the corpus where its processes see it."""
    stack.enter_context(connected(least_cpus=(scaling.num_workers or 1) * base.num_threads))
    preflight(scaling.storage or base.encoded.rpartition("/")[0])
    publish(base)


def _run_phase(
    phase: _Phase, chooser: Chooser, num_trials: int, config: SweepConfig, tracked: _Tracked, start: Callable[[], None]
) -> None:
    """Run those that are not at their end.

    Args:
        phase: of the sweep.
        chooser: of new ones.
        num_trials: in all.
        config: of the sweep.
        tracked: its runs.
        start: called before the first one is run.
    """
    known = phase.ledger.trials
    begun = [trial.number for trial in known.values() if trial.state == "running"]
    numbers = begun + list(range(len(known) + 1, num_trials + 1))
    if not numbers:
        return
    if known:
        console().print(f"goes on after {len(phase.ended)} of {num_trials} {phase.kind}s; {len(begun)} had begun")
    board = Board(phase.kind, len(phase.ended), num_trials, config.epochs)
    trials = Trials(phase.place, phase.ledger, chooser, partial(tracked.child, phase), board)
    asker = Asker(trials, numbers)
    if asker.first is None:
        return
    start()
    with board:
        run_trials(trials, asker, phase.place, config.max_failures, phase.ledger.folder)
    trials.leave()
    if any(trial.state == "running" for trial in known.values()):
        raise StoppedError("the sweep was stopped; run it again to go on")


def _finalists(ledger: Ledger, config: SweepConfig) -> list[Trial]:
    """Give the best trials that ran to their ends, best first."""
    whole = [trial for trial in ledger.trials.values() if trial.state == "finished"]
    if not whole:
        raise InfrastructureError("no trial of the sweep came to its end; fix: see each trial's error in its run in MLflow")
    ranked = sorted(whole, key=lambda trial: (-(trial.best or 0.0), trial.number))
    return ranked[: num_finalists(config)]


def _judge(finals: _Phase, finalists: list[Trial], config: SweepConfig, base: Job, layout: Layout) -> Verdict | None:
    """Compare the finalists by those of their repetitions that came to their ends."""
    entries = []
    for finalist in finalists:
        found = [finals.find(chosen) for chosen in repeated(finalist.chosen, base.train.seed, config.seeds)]
        whole = [trial for trial in found if trial is not None and trial.state == "finished"]
        entries.append((finalist, [finals.place.job(trial.number, trial.chosen) for trial in whole]))
    return judge(entries, base.train.monitor, Split.read(layout.prepared_dir, "val"), config.seed)


def _check_budget(place: Place) -> None:
    """Refuse a budget that some network can not come near.

    Raises:
        ParamsError: naming every such network.
    """
    parameters = place.budget.parameters
    if parameters is None:
        return
    shaping = {name: choice for name, choice in place.space.choices.items() if not name.startswith("train.")}
    wrong = []
    for chosen in replace(place.space, choices=shaping).grid():
        found = num_parameters(place.job(0, chosen).model, place.sizes)
        if abs(found - parameters) > TOLERANCE * parameters:
            wrong.append(f"{told(chosen)} has {found:,}")
    if wrong:
        raise ParamsError(
            f"params.yaml: sweep.budget.parameters is {parameters:,}; the nearest of {'; '.join(wrong)}, which is over "
            f"{TOLERANCE:.0%} off; fix: raise it, or take out what these networks share"
        )


def _findings(name: str, search: _Phase, finals: _Phase, study: Study, verdict: Verdict | None, proposal: Proposal) -> Findings:
    """Gather what the report tells."""
    trials = sorted(search.ledger.trials.values(), key=lambda trial: trial.number)
    states = Counter(trial.state for trial in trials)
    both = [*trials, *finals.ledger.trials.values()]
    with StringIO() as text:
        proposal.show(text)
        changes = text.getvalue()
    return Findings(
        pipeline=name,
        monitor=search.place.base.train.monitor,
        facts={
            "trials": f"{len(trials)} ({', '.join(f'{count} {state}' for state, count in states.items())})",
            "repetitions": str(len(finals.ledger.trials)),
            "training": f"{sum(trial.seconds for trial in both) / 60:.1f} min",
            "at most": f"{search.place.base.train.epochs} epochs each",
            "commit": git_commit()[:10],
        },
        trials=trials,
        choices=search.place.space.choices,
        importance=study.importance(),
        verdict=verdict,
        changes=changes,
    )


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
