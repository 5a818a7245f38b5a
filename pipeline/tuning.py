"""A sweep's trials on Ray Tune, which starts them where there is room; which to start and which to stop is the study's to say.

Tune keeps nothing that is needed again: every trial stands in the ledger, and its training in checkpoints of its own, from which
it goes on in whichever process takes it up.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import ray
import torch
from ray import tune
from ray.tune.experiment import Trial as Placed
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from models.config import Sizes
from pipeline.board import Board
from pipeline.budget import fit_epochs, fit_width, num_parameters
from pipeline.checkpoint import load_from, newest_checkpoint
from pipeline.cluster import ActorChannel, count_workers
from pipeline.config import ScalingConfig, SweepBudget
from pipeline.errors import UnrollError
from pipeline.examples import Examples
from pipeline.footprint import estimate_bytes, forget_peak, peak_bytes
from pipeline.job import FINAL, Job
from pipeline.messages import Emit, EpochResult, Message
from pipeline.space import EPOCHS, Chosen, Space
from pipeline.storage import join, open_store
from pipeline.tracking import Run
from pipeline.trainer import fit
from pipeline.trials import Ledger, Trial
from pipeline.worker import train_worker

_METRICS = "metrics/"
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Place:
    """What all trials share: plain data that is sent to their processes.

    Attributes:
        base: the training of the pipeline as it stands, with the sweep's epochs.
        scaling: of each training.
        space: what is chosen from.
        home: the address under which each trial has its checkpoints.
        sizes: of the corpus.
        budget: parameters and seconds of each network; None leaves it as it is.
    """

    base: Job
    scaling: ScalingConfig
    space: Space
    home: str
    sizes: Sizes
    budget: SweepBudget

    def job(self, number: int, chosen: Chosen) -> Job:
        """Describe the training of one sample."""
        applied, parameters = self.space.apply(chosen), self.budget.parameters
        model = applied.model if parameters is None else fit_width(applied.model, self.sizes, parameters)
        train = replace(applied.train, epochs=chosen.get(EPOCHS, self.base.train.epochs))
        checkpoints = join(self.home, str(number))
        return replace(self.base, model=model, train=train, key=f"{self.base.key}-{number}", checkpoints=checkpoints)

    @property
    def has_workers(self) -> bool:
        """Whether a trial's own process trains on further ones."""
        return (self.scaling.num_workers or 1) > 1

    def beside(self, name: str) -> "Place":
        """Give a place of the same kind, whose trials share nothing with those here."""
        return replace(self, base=replace(self.base, key=f"{self.base.key}-{name}"), home=join(self.home, name))


class Chooser(Protocol):
    """Says which trials there are to be, and which of them are to stop."""

    def ask(self, number: int) -> Chosen | None:
        """Choose a new trial's sample; None where nothing is left to choose."""

    def take_up(self, trial: Trial) -> None:
        """Go on with a trial that was begun before, with the scores that it had."""

    def must_stop(self, number: int, epoch: int, score: float) -> bool:
        """Take a trial's score after an epoch; says whether it is to stop."""

    def end(self, trial: Trial) -> None:
        """Learn from what a trial came to."""


class Trials(tune.Callback):
    """Knows every trial, in the driver: keeps it, tracks it and tells of it.

    Args:
        place: where trials run.
        ledger: what is known of them on disk.
        chooser: what chooses and stops them.
        begin_run: takes up or begins the tracked run of a trial.
        board: shows them.
    """

    def __init__(self, place: Place, ledger: Ledger, chooser: Chooser, begin_run: Callable[[Trial], Run], board: Board) -> None:
        self._place, self._ledger, self._chooser, self._begin_run, self._board = place, ledger, chooser, begin_run, board
        self._examples = Examples.open(place.base.encoded_dir, "train")
        self._runs: dict[int, Run] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune writes a copy of it that is never read

    def begin(self, number: int) -> Trial | None:
        """Take a trial up again, or choose a new one; None where nothing is left to choose."""
        known = self._ledger.trials.get(number)
        if known is not None:
            self._chooser.take_up(known)
            return known
        chosen = self._chooser.ask(number)
        if chosen is None:
            return None
        if self._place.budget.seconds is not None and EPOCHS not in chosen:
            chosen |= {EPOCHS: _measured(self._place.job(number, chosen), self._place.budget.seconds)}
        job = self._place.job(number, chosen)
        trial = Trial(number, chosen, num_parameters(job.model, self._place.sizes))
        if not self._place.has_workers:
            trial.memory = estimate_bytes(job, self._place.sizes, self._examples)
        self._ledger.keep(trial)
        return trial

    def take(self, number: int, result: dict[str, Any]) -> bool:
        """Take an epoch's result, once; says whether the trial is to stop. Tune hands it on flat, `metrics/val/loss`."""
        trial = self._ledger.trials[number]
        if "problem" in result:
            trial.problem = result["problem"]
            return False
        epoch = result["epoch"]
        metrics = {name.removeprefix(_METRICS): value for name, value in result.items() if name.startswith(_METRICS)}
        self._runs[number].log_epoch(metrics)
        if epoch in trial.scores:
            return False
        trial.scores[epoch], trial.seconds, trial.node = result["score"], metrics["train/seconds"], result["node"]
        trial.peak_memory = max(trial.peak_memory, result["peak"])
        self._ledger.keep(trial)
        self._board.on_epoch(trial)
        return self._chooser.must_stop(number, epoch, result["score"])

    def leave(self) -> None:
        """Close the runs of trials that were stopped on their way; they are opened again when these are taken up."""
        for number, run in self._runs.items():
            if self._ledger.trials[number].state == "running":
                run.end("KILLED")

    def on_trial_start(self, iteration: int, trials: list[Placed], trial: Placed, **info: Any) -> None:
        """Take up or begin the trial's run."""
        number = trial.config["number"]
        if number not in self._runs:
            self._runs[number] = self._begin_run(self._ledger.trials[number])
            self._board.on_epoch(self._ledger.trials[number])

    def on_trial_complete(self, iteration: int, trials: list[Placed], trial: Placed, **info: Any) -> None:
        """End a trial that trained to its end or was stopped."""
        number = trial.config["number"]
        known = self._ledger.trials[number]
        is_whole = FINAL in open_store(self._place.job(number, known.chosen).checkpoints).names()
        self._end(number, "failed" if known.problem else "finished" if is_whole else "stopped early")

    def on_trial_error(self, iteration: int, trials: list[Placed], trial: Placed, **info: Any) -> None:
        """End a trial whose process died as often as it may; the others go on."""
        self._ledger.trials[trial.config["number"]].problem = Path(trial.error_file).read_text(encoding="utf-8").strip()[-2000:]
        self._end(trial.config["number"], "failed")

    def _end(self, number: int, state: Any) -> None:
        trial, run = self._ledger.trials[number], self._runs[number]
        trial.state = state
        if trial.best is not None:
            run.log({"best/score": trial.best})
            run.log({"memory/estimated_mib": trial.memory / 2**20, "memory/highest_mib": trial.peak_memory / 2**20})
        run.tag({"trial_state": state, "node": trial.node, **({"problem": trial.problem} if trial.problem else {})})
        run.end("FAILED" if state == "failed" else "FINISHED")
        self._chooser.end(trial)
        self._ledger.keep(trial)  # last: what was not written is done again
        self._board.on_end(trial)


class Asker(Searcher):
    """Hands trials to Tune.

    Args:
        trials: which begins them.
        numbers: of those to run, at least one, those first that were begun before.

    Attributes:
        num_trials: at most.
        first: the first of them; None where nothing is left to choose.
    """

    def __init__(self, trials: Trials, numbers: list[int]) -> None:
        super().__init__(metric="score", mode="max")
        self._trials, self._numbers, self.num_trials = trials, numbers, len(numbers)
        self.first = trials.begin(numbers.pop(0))

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        trial, self.first = self.first, None
        if trial is None and self._numbers:
            trial = self._trials.begin(self._numbers.pop(0))
        return Searcher.FINISHED if trial is None else {"number": trial.number, "chosen": trial.chosen, "memory": trial.memory}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        pass

    def restore(self, checkpoint_path: str) -> None:
        pass


class _Stopper(FIFOScheduler):
    def __init__(self, trials: Trials) -> None:
        super().__init__()
        self._trials = trials

    def on_trial_result(self, tune_controller: Any, trial: Placed, result: dict[str, Any]) -> str:
        return TrialScheduler.STOP if self._trials.take(trial.config["number"], result) else TrialScheduler.CONTINUE


def run_trials(trials: Trials, asker: Asker, place: Place, max_failures: int, folder: Path) -> None:
    """Run all trials that the asker has to their ends; Ray is there already. Tune itself writes into `folder`."""
    demand, num_places = _share_out(place)
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(_trial, place=place), demand),
        tune_config=tune.TuneConfig(
            num_samples=asker.num_trials,
            search_alg=asker,
            scheduler=_Stopper(trials),
            reuse_actors=True,
            max_concurrent_trials=num_places,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder),
            verbose=0,
            callbacks=[trials],
            failure_config=tune.FailureConfig(max_failures=max_failures),
        ),
    )
    tuner.fit()


def _measured(job: Job, seconds: float) -> int:
    """Solve a training's epochs where trainings run; one of them has ended or not begun yet, so a core is free."""
    num_gpus = _LITTLE if ray.cluster_resources().get("GPU", 0) else 0
    return ray.get(ray.remote(num_cpus=0, num_gpus=num_gpus)(_measure).remote(job, seconds))


def _measure(job: Job, seconds: float) -> int:
    try:
        return fit_epochs(job, seconds, _device())
    except UnrollError:
        return 1  # the trial itself will tell of it


_LITTLE = 0.01
"""A share of a GPU that none misses."""


def _share_out(place: Place) -> tuple[Callable[[dict[str, Any]], tune.PlacementGroupFactory], int]:
    """Say what a trial's own process takes of the cluster, and how many trials there are cores or GPUs for.

    Of memory it takes what it was estimated to need and a half, in steps of a GiB: a process serves further trials of as
    much. The workers of a trial of several take what they need by themselves: so many trials are let in at once that all find
    it. Tune wants something of a process that waits for them; a byte of memory is missed by none.
    """
    num_workers, use_gpu = count_workers(place.scaling)
    cpus, gpus = place.scaling.cpus_per_worker, int(use_gpu)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = sum(int(min(node.get("CPU", 0) // cpus, node.get("GPU", 0) if use_gpu else math.inf)) for node in nodes)
    most = max(node.get("memory", 0) for node in nodes)

    def demand(sample: dict[str, Any]) -> tune.PlacementGroupFactory:
        if place.has_workers:
            return tune.PlacementGroupFactory([{"CPU": 0, "memory": 1}])
        memory = min(most, math.ceil(_SAFETY * sample["memory"] / 2**30) * 2**30)
        return tune.PlacementGroupFactory([{"CPU": cpus, "memory": memory, **({"GPU": gpus} if gpus else {})}])

    return demand, max(1, room // num_workers)


_SAFETY = 1.5
"""What is set aside over an estimate, which may be a third too low."""


def _trial(sample: dict[str, Any], place: Place) -> None:
    """Train one sample of the space, in a process of its own. What would fail again is told, and not tried again."""
    try:
        _train(place.job(sample["number"], sample["chosen"]), place.scaling)
    except UnrollError as error:
        tune.report({"problem": str(error), "score": -math.inf})


def _train(job: Job, scaling: ScalingConfig) -> None:
    """Train from wherever the checkpoints stand, and report every epoch."""
    forget_peak()
    store, monitor = open_store(job.checkpoints), job.train.monitor
    is_whole = FINAL in store.names()
    found = load_from(store, FINAL) if is_whole else newest_checkpoint(store)
    history = [] if found is None else found[1]["history"] if is_whole else found[1]["progress"]["history"]
    for row in history:
        _report(row, monitor)  # the driver passes over what it knows
    if is_whole:
        return
    held: list[EpochResult] = []

    def emit(message: Message) -> None:
        if isinstance(message, EpochResult) and message.is_last:
            held.append(message)  # a report may end the trial, which has not saved its weights yet
        elif isinstance(message, EpochResult):
            _report(message.metrics, monitor)

    if (scaling.num_workers or 1) > 1:
        _train_together(job, scaling, emit)
    else:
        train_worker(job, _device(), emit)
    for message in held:
        _report(message.metrics, monitor)


def _train_together(job: Job, scaling: ScalingConfig, emit: Emit) -> None:
    """Train on workers of their own, and end them where the trial is ended."""
    channel = ActorChannel()
    with ThreadPoolExecutor(max_workers=1) as pool:
        training = pool.submit(fit, job, scaling, channel, is_own=True)
        try:
            while not training.done():
                wait([training], timeout=_POLL_SECONDS)
                for message in channel.take():
                    emit(message)
            training.result()
        except BaseException:
            channel.ask_to_stop()  # and the pool waits until they have saved
            raise


def _report(metrics: dict[str, float], monitor: str) -> None:
    score = -metrics["val/loss"] if monitor == "loss" else metrics[f"val/{monitor}"]
    node = ray.get_runtime_context().get_node_id()
    tune.report({"score": score, "epoch": int(metrics["epoch"]), "node": node, "peak": peak_bytes(), "metrics": metrics})


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
