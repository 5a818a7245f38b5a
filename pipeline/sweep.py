"""Many trainings, one winner: trials of the networks that params.yaml's `sweep` names, and the best of them registered.

The search finds the finalists, and further seeds tell what is better among them from what had luck. The driver alone writes to
MLflow: a parent run, and a child per trial. The smallest network that may be as good as the best is evaluated on the test split,
gated and registered like any other model, and its params are offered as a change to params.yaml, which `unroll adopt` makes. A
sweep that was stopped or killed goes on when it is called again.
"""

import json
import logging
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
from pipeline import commits, evaluate, register
from pipeline.adopt import Proposal
from pipeline.board import Board, show_trials, show_verdict, told
from pipeline.budget import TOLERANCE, num_parameters
from pipeline.cluster import connected, preflight
from pipeline.config import CorpusConfig, PipelineConfig, ScalingConfig, SweepBudget, SweepConfig
from pipeline.errors import InfrastructureError, ParamsError, StoppedError
from pipeline.finals import Repeats, Verdict, judge, num_finalists, repeated
from pipeline.job import Job, hash_of, make_job
from pipeline.layout import Layout
from pipeline.manifest import check_manifest
from pipeline.scoring import Split
from pipeline.space import SECTIONS, Chosen, Space
from pipeline.storage import join
from pipeline.study import Study
from pipeline.sweep_report import PAGE, Findings, write_report
from pipeline.tracking import Run, in_use
from pipeline.train import alone, publish, write_model
from pipeline.trials import Ledger, Trial
from pipeline.tuning import Asker, Chooser, Place, Trials, run_trials

logger = logging.getLogger(__name__)

_FREE = ("trials", "seeds", "finalists", "workers_per_trial", "max_failures")
"""Keys of `sweep` that may change while the same sweep goes on."""


def run(
    name: str, pipeline: PipelineConfig, corpus: CorpusConfig, config: SweepConfig, scaling: ScalingConfig, layout: Layout
) -> None:
    """Search, register the best, and print the change to params.yaml; go on where an earlier call was ended.

    Raises:
        InfrastructureError: no trial came to its end, another process runs this sweep, or the cluster or MLflow will not do.
        ParamsError: the params do not fit the encoded corpus, or the budget some network.
        StoppedError: a person stopped it, and it goes on when it is run again.
    """
    if os.environ.get("RAY_ADDRESS", "").startswith("ray://"):
        raise InfrastructureError(
            "RAY_ADDRESS is a Ray client's, through which Ray Tune would move the sweep's driver to the cluster, away from "
            "params.yaml and MLflow; fix: give host:port, on a machine that the cluster's nodes reach"
        )
    data = check_manifest(layout.encoded_dir, fix=f"run `unroll encode -p {name}` again")
    base = make_job(pipeline.model, replace(pipeline.train, epochs=config.epochs), scaling, layout)
    key = hash_of([{k: value for k, value in asdict(config).items() if k not in _FREE}, base.key])
    folder = (layout.work_dir / "sweeps" / name / key).resolve()
    place = Place(
        base=base,
        scaling=replace(scaling, num_workers=config.workers_per_trial, min_workers=None),
        space=Space.of(config.space, pipeline, corpus),
        home=str(folder) if scaling.storage is None else join(scaling.storage, "sweeps", name, key),
        sizes=Sizes.load(json.loads((layout.encoded_dir / "summary.json").read_text(encoding="utf-8"))["sizes"]),
        budget=config.budget or SweepBudget(),
    )
    _check_budget(place)
    with alone(folder), in_use(layout.work_dir):
        ledger = Ledger(folder)
        tracked = _Tracked(name, hash_of(data), config, ledger)
        sweep = _Sweep(config, place, ledger, tracked)
        try:
            finalists = sweep.find()
            verdict = sweep.judge(finalists, Split.read(layout.prepared_dir, "val"))
            best = verdict.proposed.trial if verdict else finalists[0]
            job = place.job(best.number, best.chosen)
            proposal = Proposal(name, _changes(pipeline, job))
            show_trials(ledger.trials.values(), base.train.monitor)
            if verdict:
                show_verdict(verdict)
            if ledger.facts.get("registered") != best.number:
                _register(pipeline, corpus, job, tracked.child(sweep.search, best), layout, folder)
                ledger.note(registered=best.number)
            write_report(sweep.findings(verdict, proposal), folder / "report")
            tracked.finish(best, proposal, folder / "report")
        except BaseException as error:
            tracked.parent.end("KILLED" if isinstance(error, KeyboardInterrupt | StoppedError) else "FAILED")
            raise
    proposal.save(layout)
    print(f"\nreport: {os.path.relpath(folder / 'report' / PAGE)}")
    print(f"\nthe best network as a change to params.yaml, which `unroll adopt -p {name}` makes:\n")
    proposal.show(sys.stdout)


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
    """The runs of a sweep: taken up where they are there, by their tags, so that none is begun twice.

    Args:
        name: of the pipeline.
        data: a hash of what is encoded.
        config: of the sweep.
        ledger: of its search.
    """

    def __init__(self, name: str, data: str, config: SweepConfig, ledger: Ledger) -> None:
        if "token" not in ledger.facts:
            ledger.note(token=secrets.token_hex(6))
        self.pipeline, self.data, self._token = name, data, ledger.facts["token"]
        self._further = {"pipeline": name, "git_commit": commits.current(), "encoded": data}
        tags = {"kind": "sweep", "sweep": self._token}
        found = Run.find_tagged(name, tags)
        self.parent = found or Run.start(name, f"{name}-sweep", asdict(config), tags | self._further)

    def child(self, phase: _Phase, trial: Trial) -> Run:
        """Give the run of a trial."""
        job = phase.place.job(trial.number, trial.chosen)
        tags = {"kind": phase.kind, "trial": str(trial.number), "sweep": self._token}
        return Run.begin(self.pipeline, f"{phase.kind}-{trial.number}", job.params, tags, self._further, self.parent.run_id)

    def finish(self, best: Trial, proposal: Proposal, report_dir: Path) -> None:
        """Say in the sweep's own run what it came to, and end it."""
        self.parent.keep(report_dir, "report")
        self.parent.log({"best/score": best.best or 0.0})
        self.parent.tag({"best_trial": str(best.number), "best_params": json.dumps(proposal.changes)})
        self.parent.end()


class _Sweep:
    """The search and the finals of a sweep.

    Args:
        config: of the sweep.
        place: where its trials run.
        ledger: of the search; that of the finals stands below it.
        tracked: its runs.
    """

    def __init__(self, config: SweepConfig, place: Place, ledger: Ledger, tracked: _Tracked) -> None:
        self._config, self._base, self._tracked = config, place.base, tracked
        self.search = _Phase("trial", place, ledger)
        self._finals = _Phase("repeat", place.beside("finals"), Ledger(ledger.folder / "finals"))
        self._study = Study(place.space, config, self.search.ended)

    def find(self) -> list[Trial]:
        """Run what is not at its end of the search and then of the finals; gives the finalists, best of the search first."""
        with ExitStack() as stack:
            start = cache(partial(self._start, stack))
            self._run(self.search, self._study, self._config.trials, start)
            whole = [trial for trial in self.search.ended if trial.state == "finished"]
            if not whole:
                raise InfrastructureError(
                    "no trial of the sweep came to its end; fix: see each trial's error in its run in MLflow"
                )
            finalists = sorted(whole, key=lambda trial: (-(trial.best or 0.0), trial.number))[: num_finalists(self._config)]
            new = [chosen for trial in finalists for chosen in self._repeated(trial) if self._finals.find(chosen) is None]
            self._run(self._finals, Repeats(new), len(self._finals.ledger.trials) + len(new), start)
        return finalists

    def judge(self, finalists: list[Trial], val: Split) -> Verdict | None:
        """Compare the finalists by those of their repetitions that came to their ends."""
        entries = []
        for finalist in finalists:
            found = [self._finals.find(chosen) for chosen in self._repeated(finalist)]
            whole = [trial for trial in found if trial is not None and trial.state == "finished"]
            entries.append((finalist, [self._finals.place.job(trial.number, trial.chosen) for trial in whole]))
        return judge(entries, self._base.train.monitor, val, self._config.seed)

    def findings(self, verdict: Verdict | None, proposal: Proposal) -> Findings:
        """Gather what the report tells."""
        trials = sorted(self.search.ledger.trials.values(), key=lambda trial: trial.number)
        repetitions = list(self._finals.ledger.trials.values())
        states = Counter(trial.state for trial in trials)
        with StringIO() as text:
            proposal.show(text)
            changes = text.getvalue()
        return Findings(
            pipeline=self._tracked.pipeline,
            monitor=self._base.train.monitor,
            facts={
                "trials": f"{len(trials)} ({', '.join(f'{count} {state}' for state, count in states.items())})",
                "repetitions": str(len(repetitions)),
                "training": f"{sum(trial.seconds for trial in trials + repetitions) / 60:.1f} min",
                "commit": commits.current()[:10],
                "encoded data": self._tracked.data,
            },
            trials=trials,
            choices=self.search.place.space.choices,
            importance=self._study.importance(),
            verdict=verdict,
            changes=changes,
        )

    def _repeated(self, finalist: Trial) -> list[Chosen]:
        return repeated(finalist.chosen, self._base.train.seed, self._config.seeds)

    def _start(self, stack: ExitStack) -> None:
        """Find or start Ray, until the end of `stack`, and lay the corpus where its processes see it."""
        place = self.search.place
        stack.enter_context(connected(least_cpus=(place.scaling.num_workers or 1) * self._base.num_threads))
        preflight(place.scaling.storage or self._base.encoded.rpartition("/")[0], place.scaling)
        publish(self._base)

    def _run(self, phase: _Phase, chooser: Chooser, num_trials: int, start: Callable[[], None]) -> None:
        """Run those of a phase that are not at their end.

        Args:
            phase: of the sweep.
            chooser: of new ones.
            num_trials: in all.
            start: called before the first one is run.
        """
        known = phase.ledger.trials
        begun = [trial.number for trial in known.values() if trial.state == "running"]
        numbers = begun + list(range(len(known) + 1, num_trials + 1))
        if not numbers:
            return
        if known:
            logger.info("goes on after %d of %d %ss; %d had begun", len(phase.ended), num_trials, phase.kind, len(begun))
        board = Board(phase.kind, len(phase.ended), num_trials, self._base.train.epochs)
        trials = Trials(phase.place, phase.ledger, chooser, partial(self._tracked.child, phase), board)
        start()
        asker = Asker(trials, numbers)
        if asker.first is None:
            return
        with board:
            run_trials(trials, asker, phase.place, self._config.max_failures, phase.ledger.folder)
        trials.leave()
        if any(trial.state == "running" for trial in known.values()):
            raise StoppedError("the sweep was stopped; run it again to go on")


def _register(pipeline: PipelineConfig, corpus: CorpusConfig, job: Job, tracked: Run, layout: Layout, folder: Path) -> None:
    """Take the best trial's model through evaluate and register, in a folder beside the pipeline's own."""
    own = replace(layout, data_dir=folder / "data")
    shutil.rmtree(own.data_dir, ignore_errors=True)
    own.prepared_dir.parent.mkdir(parents=True)
    own.prepared_dir.symlink_to(layout.prepared_dir.resolve())
    own.encoded_dir.symlink_to(layout.encoded_dir.resolve())
    write_model(job, tracked, own.model_dir)
    evaluate.run(corpus.task, own)
    register.run(corpus, pipeline.register, own, corpus_name=pipeline.corpus, params=pipeline)
    tracked.end()


def _changes(pipeline: PipelineConfig, job: Job) -> dict[str, dict[str, Any]]:
    """Name the keys in which a trial differs from the pipeline's own params."""
    changed = {}
    for section in SECTIONS:
        old, new = asdict(getattr(pipeline, section)), asdict(getattr(job, section))
        changed[section] = {k: list(v) if isinstance(v, tuple) else v for k, v in new.items() if v != old[k]}
    return {section: keys for section, keys in changed.items() if keys}
