"""A person's say in who is champion: make a version champion, or take back the last change."""

import json
from pathlib import Path

from models.config import Task
from pipeline import registry
from pipeline.config import RegisterConfig
from pipeline.errors import ParamsError
from pipeline.gate import Candidate, Exam, Gate, load_version
from pipeline.versions import Version, champion


def promote(name: str, number: str, gate: Gate | None) -> None:
    """Make a version champion.

    Args:
        name: of the model.
        number: of the version.
        gate: that it must pass; None asks nothing, save that the model is whole.

    Raises:
        ParamsError: there is no such version, or the gate does not let it.
        IntegrityError: the version, or the champion, is not what was written.
    """
    with registry.alone(name):
        version, before = registry.resolve(f"{name}/{number}"), champion(name)
        if before is not None and before.number == number:
            print(f"{name}: version {number} is champion already")
            return
        if gate is None:
            load_version(version)
        else:
            _demand(gate, version, before)
        registry.appoint(version)
        registry.describe_anew(version)
    print(f"{name}: version {number} is champion{_instead(before)}")


def roll_back(name: str) -> None:
    """Make that version champion again which was it before; the one that is loses the alias, until it is promoted again.

    Raises:
        ParamsError: there is no champion, or there was none before it.
        IntegrityError: the one before is not what was written.
    """
    with registry.alone(name):
        current = registry.resolve(f"{name}@champion")
        until = current.tags.get(registry.SINCE, "~")  # later than any time, where it was made champion by hand
        past = [it for it in registry.champions(name) if it.number != current.number and it.tags[registry.SINCE] < until]
        if not past:
            raise ParamsError(f"{name}: no version was champion before {current.number}; fix: `unroll promote` another")
        load_version(past[0])
        registry.roll_back(current, past[0])
        registry.describe_anew(past[0])
    print(f"{name}: version {past[0].number} is champion{_instead(current)}")


def gate_of(name: str, prepared_dir: Path, config: RegisterConfig, task: Task) -> Gate:
    """Give the gate that a pipeline's params ask for.

    Raises:
        ParamsError: its test split is not here.
    """
    if not (prepared_dir / "test.parquet").is_file():
        raise ParamsError(f"{prepared_dir}: has no test split to ask {name}; fix: `dvc repro prepare@{name}`, or --force")
    return Gate(config, Exam.read(prepared_dir, task))


def _demand(gate: Gate, version: Version, before: Version | None) -> None:
    scores = {key.removeprefix("test/"): value for key, value in json.loads(version.tags.get("scores", "{}")).items()}
    judgement = gate.judge(Candidate(version, load_version(version), scores), before)
    judgement.keep(version)
    for finding in judgement.findings:
        print(f"{version.name}: gate: {finding}")
    if not judgement.holds:
        failed = ", ".join(finding.name for finding in judgement.findings if not finding.holds)
        raise ParamsError(f"{version.name}: version {version.number} is not promoted; fails: {failed}; fix: --force asks nothing")


def _instead(before: Version | None) -> str:
    return "" if before is None else f", in the place of version {before.number}"
