"""Many trainings, one winner: Ray Tune over the networks that params.yaml's `sweep` names, Optuna choosing, ASHA stopping.

The driver alone writes to MLflow: a parent run, and a child per trial. The best trial that ran to its end is evaluated on
the test split, gated and registered like any other model, and its params are offered as a change to params.yaml.
"""

import json
import math
import shutil
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import ray
import torch
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch
from rich.console import Console
from rich.table import Table
from ruamel.yaml import YAML

from models.config import Task, drop_idle
from pipeline import evaluate, register
from pipeline.cluster import connected
from pipeline.config import PipelineConfig, ScalingConfig, SweepConfig, SweepSpace
from pipeline.errors import InfrastructureError, ParamsError
from pipeline.job import FINAL, Job, make_job, setting_of
from pipeline.layout import Layout
from pipeline.messages import EpochResult, Message
from pipeline.tracking import Run, git_commit
from pipeline.train import write_model
from pipeline.worker import train_worker

_MODEL_KEYS = ("cell", "bidirectional", "char_hidden", "pooling")


def run(name: str, pipeline: PipelineConfig, task: Task, config: SweepConfig, layout: Layout) -> None:
    """Search, register the best, and print the change to params.yaml.

    Raises:
        ParamsError: the space is empty or asks for what the task does not have.
        InfrastructureError: no trial came to its end.
    """
    if not any(asdict(config.space).values()):
        raise ParamsError("params.yaml: sweep.space is empty; nothing to choose from; fix: name a key, such as cell: [lstm, gru]")
    if task == "tagging" and config.space.pooling:
        raise ParamsError("params.yaml: sweep.space.pooling is for classification; fix: leave it out for a tagger")
    train = replace(pipeline.train, epochs=config.epochs)
    folder = (layout.work_dir / "sweeps" / name).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    base = make_job(pipeline.model, train, ScalingConfig(), layout)
    parent = Run.start(name, f"{name}-sweep", asdict(config), {"pipeline": name, "git_commit": git_commit(), "kind": "sweep"})
    children = Children(name, parent, base, folder, config.trials)
    try:
        with connected():
            _search(base, config, folder, children)
        rows = list(children.rows.values())
        best = _best(rows)
        job = job_of(base, best["config"], folder, best["trial_id"])
        _show(rows, train.monitor)
        _register(name, pipeline, task, job, children.runs[best["trial_id"]], layout)
        parent.log({"best/score": best["score"]})
        parent.tag({"best_trial": best["trial_id"], "best_params": json.dumps(_changes(base, job))})
        parent.end()
    except BaseException as error:
        parent.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    print(f"\nthe best network as a change to params.yaml, under pipelines.{name}:\n")
    YAML().dump(_changes(base, job), sys.stdout)


def job_of(base: Job, chosen: dict[str, Any], folder: Path, trial_id: str) -> Job:
    """Apply one sample of the space to the pipeline's own params."""
    model, train = base.model, base.train
    model = replace(model, **{key: chosen[key] for key in _MODEL_KEYS if key in chosen})
    layers, hidden = chosen.get("layers", len(model.hidden)), chosen.get("hidden", model.hidden[0])
    if "layers" in chosen or "hidden" in chosen:
        model = replace(model, hidden=(hidden,) * layers)
    model = drop_idle(model, setting_of(base.encoded_dir))  # what hangs on a choice that was not made
    if "lr" in chosen:
        train = replace(train, lr=float(f"{chosen['lr']:.3g}"))  # a number that a person would write
    return replace(base, model=model, train=train, key=trial_id, checkpoints=str(folder / trial_id))


def space_of(space: SweepSpace) -> dict[str, optuna.distributions.BaseDistribution]:
    """Turn the space of params.yaml into what Optuna draws from."""
    drawn: dict[str, optuna.distributions.BaseDistribution] = {
        key: optuna.distributions.CategoricalDistribution(values)
        for key, values in asdict(space).items()
        if key != "lr" and values
    }
    if space.lr is not None:
        drawn["lr"] = optuna.distributions.FloatDistribution(*space.lr, log=True)
    return drawn


class Children(tune.Callback):
    """Tracks and shows every trial, from the driver: one child run each, ended FINISHED also where ASHA stopped it.

    Attributes:
        rows: trial id -> its params, best score, epochs and state.
        runs: trial id -> its run.
    """

    def __init__(self, name: str, parent: Run, base: Job, folder: Path, num_trials: int) -> None:
        self._name, self._parent, self._base, self._folder, self._num_trials = name, parent, base, folder, num_trials
        self.rows: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, Run] = {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Begin a child run."""
        if trial.trial_id in self.runs:
            return
        job = job_of(self._base, trial.config, self._folder, trial.trial_id)
        params = {"model": asdict(job.model), "train": asdict(job.train)}
        tags = {"pipeline": self._name, "trial": trial.trial_id}
        self.runs[trial.trial_id] = Run.start(self._name, f"trial-{len(self.runs) + 1}", params, tags, self._parent.run_id)
        self.rows[trial.trial_id] = {
            "trial_id": trial.trial_id,
            "config": trial.config,
            "score": -math.inf,
            "epochs": 0,
            "state": "running",
        }

    def on_trial_result(self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any) -> None:
        """Track one epoch."""
        row = self.rows[trial.trial_id]
        row["score"], row["epochs"] = max(row["score"], result["score"]), result["epoch"]
        self.runs[trial.trial_id].log(result["metrics"], step=result["epoch"])

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """End a child run."""
        self._end(trial, "FINISHED")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """End the child run of a trial that failed; the others go on."""
        self._end(trial, "FAILED")

    def _end(self, trial: Trial, status: str) -> None:
        row = self.rows[trial.trial_id]
        is_whole = (self._folder / trial.trial_id / FINAL).exists()
        row["state"] = "failed" if status == "FAILED" else "finished" if is_whole else "stopped early"
        self.runs[trial.trial_id].log({"best/score": row["score"]})
        self.runs[trial.trial_id].tag({"trial_state": row["state"]})
        self.runs[trial.trial_id].end(status)
        ended = sum(other["state"] != "running" for other in self.rows.values())
        chosen = ", ".join(f"{key} {_short(value)}" for key, value in row["config"].items())
        _console().print(
            f"trial {ended} of {self._num_trials} {row['state']} after {row['epochs']} epochs, best {row['score']:.4f}: {chosen}",
            soft_wrap=True,
        )


def _search(base: Job, config: SweepConfig, folder: Path, children: Children) -> None:
    """Run every trial; `children` knows afterwards what came of each."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=config.seed, multivariate=True)
    scheduler = ASHAScheduler(
        time_attr="epoch",
        metric="score",
        mode="max",
        max_t=config.epochs,
        grace_period=min(config.grace_epochs, config.epochs),
        reduction_factor=config.reduction,
    )
    use_gpu = ray.cluster_resources().get("GPU", 0) >= 1
    tuner = tune.Tuner(
        tune.with_resources(partial(_trial, base=base, folder=folder), {"cpu": 1, "gpu": 1} if use_gpu else {"cpu": 1}),
        tune_config=tune.TuneConfig(
            num_samples=config.trials,
            search_alg=OptunaSearch(space=space_of(config.space), metric="score", mode="max", sampler=sampler),
            scheduler=scheduler,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(name="tune", storage_path=str(folder), verbose=0, callbacks=[children]),
    )
    tuner.fit()


def _trial(chosen: dict[str, Any], *, base: Job, folder: Path) -> None:
    """Train one sample of the space, in a process of its own."""
    job = job_of(base, chosen, folder, tune.get_context().get_trial_id())

    held: list[EpochResult] = []

    def report(result: Message) -> None:
        if isinstance(result, EpochResult) and result.is_last:
            held.append(result)  # a report may end the trial, which has not saved its weights yet
        elif isinstance(result, EpochResult):
            _report(result, job.train.monitor)

    train_worker(job, torch.device("cuda" if torch.cuda.is_available() else "cpu"), report)
    for result in held:
        _report(result, job.train.monitor)


def _report(result: EpochResult, monitor: str) -> None:
    score = -result.metrics["val/loss"] if monitor == "loss" else result.metrics[f"val/{monitor}"]
    tune.report({"score": score, "epoch": result.epoch, "metrics": result.metrics})


def _best(rows: list[dict[str, Any]]) -> dict[str, Any]:
    whole = [row for row in rows if row["state"] == "finished"]
    if not whole:
        raise InfrastructureError("no trial of the sweep came to its end; fix: see each trial's error in its run in MLflow")
    return max(whole, key=lambda row: row["score"])


def _register(name: str, pipeline: PipelineConfig, task: Task, job: Job, tracked: Run, layout: Layout) -> None:
    """Take the best trial's model through evaluate and register, in a folder beside the pipeline's own."""
    own = replace(layout, data_dir=Path(job.checkpoints) / "data")
    own.prepared_dir.parent.mkdir(parents=True)
    own.prepared_dir.symlink_to(layout.prepared_dir.resolve())
    write_model(job, tracked, own.model_dir)
    evaluate.run(task, own)
    register.run(task, pipeline.corpus, pipeline.register, own)


def _changes(base: Job, job: Job) -> dict[str, Any]:
    """Name the keys in which a trial differs from the pipeline's own params."""
    pairs = {section: (asdict(getattr(base, section)), asdict(getattr(job, section))) for section in ("model", "train")}
    changed = {section: {k: _plain(v) for k, v in new.items() if v != old[k]} for section, (old, new) in pairs.items()}
    changed["train"].pop("epochs", None)
    return {section: keys for section, keys in changed.items() if keys}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _short(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def _show(rows: list[dict[str, Any]], monitor: str) -> None:
    table = Table(title="trials, best first")
    keys = list(rows[0]["config"])
    for heading in ("rank", f"val/{monitor}", "epochs", "state", *keys):
        table.add_column(heading, justify="left" if heading in keys else "right")
    for rank, row in enumerate(sorted(rows, key=lambda row: -row["score"]), start=1):
        chosen = [_short(row["config"][key]) for key in keys]
        table.add_row(str(rank), f"{row['score']:.4f}", str(row["epochs"]), row["state"], *chosen)
    _console().print(table)


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else 120)
