"""Which network to try next and which to stop, by Optuna: it is told all trials so far, so a sweep that was killed goes on."""

import json
import logging
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from pipeline.config import SweepConfig
from pipeline.space import Choice, Chosen, Space, Values
from pipeline.trials import Trial

_TRIES = 50
"""Samples drawn in vain, as they were tried before, until what is left is taken in turn."""
_FEW = 4
"""Trials of which nothing is said about what mattered, if they are less."""
_NUM_DIGITS = 3
"""Digits of a number drawn from a range: as many as a person would write."""


class Study:
    """The search of one sweep, in the driver.

    Args:
        space: what is chosen from.
        config: of the sweep.
        known: trials that ended; their numbers are less than those that are asked for.
    """

    def __init__(self, space: Space, config: SweepConfig, known: Iterable[Trial]) -> None:
        logging.getLogger("optuna").setLevel(logging.WARNING)
        self._space, self._config = space, config
        self._study = optuna.create_study(direction="maximize", pruner=STOPPERS[config.stopper](config))
        self._live: dict[int, optuna.Trial] = {}
        self._seen: set[str] = set()
        for trial in known:
            self.take_up(trial)
            self.end(trial)

    def ask(self, number: int) -> Chosen | None:
        """Choose a new trial's sample, None where all were tried; it follows from the seed, the number and the ended trials."""
        for attempt in range(0 if self._config.searcher == "grid" else _TRIES):
            self._study.sampler = self._sampler([self._config.seed, number, attempt])
            trial = self._study.ask()
            chosen = self._space.draw(partial(_suggest, trial))
            if json.dumps(chosen) not in self._seen:
                self._live[number] = trial
                self._seen.add(json.dumps(chosen))
                return chosen
            self._study.tell(trial, state=TrialState.FAIL)
        for left in self._space.grid():
            if json.dumps(left) not in self._seen:
                self._begin(number, left)
                return left
        return None

    def take_up(self, trial: Trial) -> None:
        """Go on with a trial that was begun before, with the scores that it had."""
        self._begin(trial.number, trial.chosen)
        for epoch, score in sorted(trial.scores.items()):
            self.must_stop(trial.number, epoch, score)

    def must_stop(self, number: int, epoch: int, score: float) -> bool:
        """Take a trial's score after an epoch; says whether it lags so far behind the others that it is to stop."""
        self._live[number].report(score, epoch)
        return self._live[number].should_prune()

    def end(self, trial: Trial) -> None:
        """Learn from what a trial came to."""
        ended = {"finished": TrialState.COMPLETE, "stopped early": TrialState.PRUNED, "failed": TrialState.FAIL}[trial.state]
        self._study.tell(self._live.pop(trial.number), trial.best if ended == TrialState.COMPLETE else None, ended)

    def importance(self) -> dict[str, float]:
        """Give the share of the scores' spread that goes with each key that all whole trials chose; empty where they are few."""
        whole = self._study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        if len({trial.value for trial in whole}) < _FEW or len(whole) < _FEW:
            return {}
        return optuna.importance.get_param_importances(
            self._study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=self._config.seed)
        )

    def _begin(self, number: int, trained: Chosen) -> None:
        chosen = {name: value for name, value in trained.items() if name in self._space.choices}
        self._seen.add(json.dumps(chosen))
        self._study.enqueue_trial({name: _written(self._space.choices[name], value) for name, value in chosen.items()})
        self._live[number] = self._study.ask()
        self._space.draw(partial(_suggest, self._live[number]))

    def _sampler(self, seeds: list[int]) -> optuna.samplers.BaseSampler:
        seed = int(np.random.SeedSequence(seeds).generate_state(1)[0])
        if self._config.searcher == "random":
            return optuna.samplers.RandomSampler(seed)
        with warnings.catch_warnings(category=optuna.exceptions.ExperimentalWarning, action="ignore"):
            return optuna.samplers.TPESampler(
                seed=seed,
                n_startup_trials=min(10, self._config.trials // 2),
                multivariate=True,
                group=True,  # of those that are chosen together
                constant_liar=True,  # what runs beside is no place to look
            )


def _suggest(trial: optuna.Trial, name: str, choice: Choice) -> Any:
    if isinstance(choice, Values):
        texts = {json.dumps(value): value for value in choice.values}
        return texts[trial.suggest_categorical(name, list(texts))]
    if choice.is_whole:
        return trial.suggest_int(name, int(choice.low), int(choice.high), log=choice.is_log)
    drawn = trial.suggest_float(name, choice.low, choice.high, log=choice.is_log)
    return min(max(float(f"{drawn:.{_NUM_DIGITS}g}"), choice.low), choice.high)


def _written(choice: Choice, value: Any) -> Any:
    return json.dumps(value) if isinstance(choice, Values) else value


def _asha(config: SweepConfig) -> optuna.pruners.BasePruner:
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=grace_epochs(config), reduction_factor=config.reduction or 2)


def _median(config: SweepConfig) -> optuna.pruners.BasePruner:
    return optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=grace_epochs(config))


def _none(config: SweepConfig) -> optuna.pruners.BasePruner:
    return optuna.pruners.NopPruner()


STOPPERS: dict[str, Callable[[SweepConfig], optuna.pruners.BasePruner]] = {"asha": _asha, "median": _median, "none": _none}
"""`sweep.stopper` -> Optuna's."""


def grace_epochs(config: SweepConfig) -> int:
    """Give the epochs that every trial is given."""
    return config.grace_epochs or min(2, config.epochs)
