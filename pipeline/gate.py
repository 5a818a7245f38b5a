"""Whether a model may be champion: four claims, each of which holds or not, and says why in one line.

It scores more on the test examples than the champion does, asked the same ones anew; its scores are as high as demanded; on
the parts of the test split that matter it is not much worse than the champion; and it answers some texts as a person expects.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from models.config import MAIN, Task
from pipeline import registry
from pipeline.config import Check, RegisterConfig
from pipeline.errors import DataError, ParamsError
from pipeline.labeler import Labeler
from pipeline.paired import Gain, compare, count, score
from pipeline.scoring import Sequences, Split, answer_split, known_words, score_labels
from pipeline.versions import Version, download_model

SHARE = 0.95
"""Of the interval that is told where `register.confidence` asks for none."""
_KEPT = "judgement"
_ROUNDING = 1e-9
"""Two scores that are this near are the same."""


@dataclass(frozen=True)
class Answered:
    """What a model makes of the test split: the main target's labels, and all scores that follow."""

    labels: Sequences
    scores: dict[str, float]


@dataclass(frozen=True)
class Exam:
    """The test split, as every model is asked it.

    Attributes:
        test: the examples.
        known: word forms of train.
        task: of the pipeline.
    """

    test: Split
    known: set[str]
    task: Task

    @classmethod
    def read(cls, prepared_dir: Path, task: Task) -> "Exam":
        """Read what prepare wrote."""
        return cls(Split.read(prepared_dir, "test"), known_words(Split.read(prepared_dir, "train")), task)

    def ask(self, labeler: Labeler) -> Answered:
        """Have a model answer.

        Raises:
            DataError: it is for another task, or reads columns that the split does not have.
        """
        task, lacks = labeler.sizes.task, [name for name in labeler.columns if name not in self.test.columns]
        if task != self.task or lacks:
            reason = f"reads the columns {', '.join(lacks)}" if lacks else f"is for {task}"
            raise DataError(f"the model {reason}, which the test split is not for; fix: `unroll promote --force` another")
        answers, is_tagging = answer_split(labeler, self.test), self.task == "tagging"
        scores = score_labels(self.test, answers[MAIN], self.known, is_tagging)
        for name, labels in answers.items():
            if name != MAIN and name in self.test.columns:
                kind = labeler.sizes.targets[name].task
                further = score_labels(self.test.as_target(name), labels, self.known, kind == "tagging")
                scores[f"{name}_accuracy"] = further["accuracy"]
        return Answered(answers[MAIN], scores)


@dataclass(frozen=True)
class Finding:
    """One claim of the gate: its key in `register`, whether it holds, and why."""

    name: str
    holds: bool
    says: str

    def __str__(self) -> str:
        return f"{self.name} {'holds' if self.holds else 'fails'}: {self.says}"


@dataclass(frozen=True)
class Judgement:
    """What the gate says of a version.

    Attributes:
        findings: its claims, in order.
        standing: the champion's score by `register.metric`, asked now; None without a champion.
        against: the champion's number.
    """

    findings: list[Finding]
    standing: float | None = None
    against: str | None = None

    @property
    def holds(self) -> bool:
        """Whether the version may be champion."""
        return all(finding.holds for finding in self.findings)

    def also(self, finding: Finding) -> "Judgement":
        """Give the same with one more finding."""
        return replace(self, findings=[*self.findings, finding])

    def keep(self, version: Version) -> None:
        """Have the version's tags say it, a line per claim."""
        lines = {f"gate_{finding.name}": str(finding).partition(" ")[2] for finding in self.findings}
        registry.untag(version, *(key for key in version.tags if key.startswith("gate_") and key not in lines))
        registry.tag(version, {**lines, _KEPT: json.dumps(asdict(self))})

    @classmethod
    def kept(cls, version: Version) -> "Judgement":
        """Read what was kept of a version last; empty where nothing was."""
        told = json.loads(version.tags.get(_KEPT, '{"findings": []}'))
        return cls(**{**told, "findings": [Finding(**finding) for finding in told["findings"]]})


@dataclass(frozen=True)
class Candidate:
    """A version that would be champion.

    Attributes:
        version: in the registry.
        labeler: its model.
        metrics: its scores on test, without `test/`, as its report has them.
    """

    version: Version
    labeler: Labeler
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class _Pair:
    """The champion's name and answers."""

    name: str
    answered: Answered


@dataclass(frozen=True)
class Gate:
    """What is demanded of a champion, and the test split that it is asked."""

    config: RegisterConfig
    exam: Exam

    def judge(self, candidate: Candidate, champion: Version | None) -> Judgement:
        """Ask whether a version may take the champion's place.

        Raises:
            ParamsError: a score that the config names is none of the model's.
            IntegrityError: the champion is not what was written.
        """
        config, ours = self.config, self.exam.ask(candidate.labeler)
        scores = {**candidate.metrics, **ours.scores}
        for key, names in {"metric": [config.metric], "min_scores": config.min_scores}.items():
            _demand(key, list(names), scores)
        _demand("slices", list(config.slices), ours.scores)
        theirs = None
        if champion is not None:
            theirs = _Pair(f"version {champion.number}", self.exam.ask(load_version(champion)))
        findings = [_find_gain(ours, theirs, config, self.exam)]
        findings += _find_scores(scores, config)
        findings += _find_slices(ours, theirs, config)
        findings += _find_checks(candidate.labeler, config.checks)
        if registry.ROLLED_BACK in candidate.version.tags:
            says = f"a person took its alias on {candidate.version.tags[registry.ROLLED_BACK]}; fix: `unroll promote --force`"
            findings.append(Finding("rolled_back", False, says))
        if champion is None or theirs is None:
            return Judgement(findings)
        return Judgement(findings, theirs.answered.scores.get(config.metric, 0.0), champion.number)


def load_version(version: Version) -> Labeler:
    """Load a registered model.

    Raises:
        IntegrityError: it is not what was written.
    """
    return Labeler.load(download_model(f"models:/{version.name}/{version.number}"))


def _demand(key: str, names: list[str], scores: dict[str, float]) -> None:
    for name in names:
        if name not in scores:
            known = ", ".join(sorted(name for name in scores if not name.startswith("floor_")))
            raise ParamsError(
                f"params.yaml: register.{key} names {name!r}; the model's test scores are {known}; fix: choose another"
            )


def _find_gain(ours: Answered, champion: _Pair | None, config: RegisterConfig, exam: Exam) -> Finding:
    said = f"test/{config.metric} {ours.scores[config.metric]:.4f}"
    if champion is None:
        return Finding("gain", True, f"{said}, and no champion yet")
    name, theirs = champion.name, champion.answered
    tallies = [count(config.metric, exam.test.labels, answered.labels) for answered in (ours, theirs)]
    share = config.confidence or SHARE
    gain = compare(tallies[0], tallies[1], share)
    decides = gain.low if config.confidence else gain.points
    what = f"the low end of its {share:.0%} interval" if config.confidence else "it"
    said += f", {name} has {score(tallies[1]):.4f}: {_told(gain, share)}"
    holds = decides > config.min_gain
    return Finding("gain", holds, f"{said}; {what} is {'' if holds else 'not '}above {config.min_gain:g}")


def _told(gain: Gain, share: float) -> str:
    return f"{gain.points:+.4f}, {share:.0%} interval {gain.low:+.4f} to {gain.high:+.4f}"


def _find_scores(scores: dict[str, float], config: RegisterConfig) -> Iterator[Finding]:
    if config.min_scores:
        low = [name for name, least in config.min_scores.items() if scores[name] < least]
        told = [f"{name} {scores[name]:.4f} of {least:g}" for name, least in config.min_scores.items()]
        yield Finding("min_scores", not low, ", ".join(told) + (f"; too low: {', '.join(low)}" if low else ""))


def _find_slices(ours: Answered, champion: _Pair | None, config: RegisterConfig) -> Iterator[Finding]:
    if not config.slices or champion is None:
        return
    name, theirs = champion.name, champion.answered
    told, worse = [], []
    for key, most in config.slices.items():
        if key not in theirs.scores:
            told.append(f"{key} {ours.scores[key]:.4f}, {name} has none")
            continue
        lost = theirs.scores[key] - ours.scores[key]
        told.append(f"{key} {ours.scores[key]:.4f}, {name} has {theirs.scores[key]:.4f}: at most {most:g} less")
        worse += [key] if lost > most + _ROUNDING else []
    yield Finding("slices", not worse, "; ".join(told) + (f"; too much worse: {', '.join(worse)}" if worse else ""))


def _find_checks(labeler: Labeler, checks: tuple[Check, ...]) -> Iterator[Finding]:
    if not checks:
        return
    answers = labeler.label_texts([check.text for check in checks])
    wrong = [
        f"{check.text!r} is {' '.join(said)}, expected {' '.join(check.expected)}"
        for check, said in zip(checks, map(_said, answers), strict=True)
        if said != check.expected
    ]
    yield Finding("checks", not wrong, "; ".join([f"{len(checks) - len(wrong)} of {len(checks)} texts as expected", *wrong]))


def _said(answer: dict[str, Any]) -> tuple[str, ...]:
    return tuple(answer["labels"]) if "labels" in answer else (answer["label"],)
