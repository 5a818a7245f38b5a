"""What is wrong with params.yaml's `sweep`: all of it is told before anything is started."""

import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from models.config import find_clashes
from pipeline.checks import check_columns, did_you_mean, setting_for
from pipeline.config import Catalogue, Config, SweepConfig
from pipeline.places import Complaint
from pipeline.space import SECTIONS, WIDTH, Space, field_type, number_type

_SETTLED = {
    "epochs": "is what sweep.epochs says",
    "monitor": "decides what trials are compared by",
    "accumulate": "changes no score",
    "checkpoint_seconds": "changes no score",
    "checkpoint_steps": "changes no score",
}
"""Keys of `train` that a sweep does not search -> why."""
_DECIDING = {"word_size", "char_hidden", "char_encoder", "cell", "bidirectional", "merge", "hidden", "crf", "heads", "features"}
_DECIDING |= {"residual", "pooling"}
"""Keys of `model` that decide which options do something, and which can be had together."""


def check_sweep(sweep: SweepConfig, config: Config, catalogue: Catalogue) -> Iterator[Complaint]:
    """Check a sweep against the pipeline that it searches."""
    if sweep.pipeline not in config.pipelines:
        hint = did_you_mean(sweep.pipeline, list(config.pipelines))
        yield Complaint(("sweep", "pipeline"), f"is {sweep.pipeline!r}, which is no pipeline; {hint}")
        return
    yield from _check_options(sweep)
    wrong = list(_check_keys(sweep))
    yield from wrong
    pipeline = config.pipelines[sweep.pipeline]
    if not wrong and pipeline.corpus in catalogue.corpora:
        yield from _check_samples(Space.of(sweep.space, pipeline, catalogue.corpora[pipeline.corpus]))


def _check_options(sweep: SweepConfig) -> Iterator[Complaint]:
    """Check what stands beside the space."""
    rules = [
        ("grace_epochs", sweep.stopper != "none", "stopper: asha and median"),
        ("reduction", sweep.stopper == "asha", "asha"),
        ("finalists", sweep.seeds > 0, "seeds: 2 or more"),
    ]
    for key, applies, purpose in rules:
        if not applies and getattr(sweep, key) is not None:
            yield Complaint(("sweep", key), f"would do nothing here; it is for {purpose}; fix: leave it out")
    if sweep.budget is not None and sweep.budget.parameters is sweep.budget.seconds is None:
        yield Complaint(("sweep", "budget"), "is empty; fix: name parameters or seconds, or leave it out")
    if sweep.budget is not None and sweep.budget.seconds is not None and sweep.stopper != "none":
        yield Complaint(
            ("sweep", "budget", "seconds"),
            f"gives each network epochs of its own, which stopper: {sweep.stopper} would compare; fix: set stopper: none",
        )
    if sweep.seeds == 1:
        yield Complaint(("sweep", "seeds"), "is 1, and one seed shows no luck; fix: set it to 2 or more, or to 0 for none")
    if (sweep.grace_epochs or 0) > sweep.epochs:
        yield Complaint(
            ("sweep", "grace_epochs"), f"is {sweep.grace_epochs}, but a trial has {sweep.epochs} epochs; fix: lower it"
        )


def _check_keys(sweep: SweepConfig) -> Iterator[Complaint]:
    """Check each choice by itself."""
    space, at = sweep.space, ("sweep", "space")
    if not any((space.layers, space.units, space.model, space.train)):
        yield Complaint(at, "is empty, so there is nothing to choose from; fix: name a key, such as model: {cell: [lstm, gru]}")
    for name in WIDTH:
        yield from _check_twice(getattr(space, name), (*at, name))
    if sweep.budget is not None and sweep.budget.parameters is not None:
        solved = {"units": bool(space.units), "model.hidden": "hidden" in space.model}
        for name in (name for name, is_there in solved.items() if is_there):
            yield Complaint((*at, *name.split(".")), "is what sweep.budget.parameters solves; fix: leave it out, or the budget")
    if "hidden" in space.model and (space.layers or space.units):
        yield Complaint((*at, "model", "hidden"), "is what layers and units make; fix: leave them out, or this")
    for section, kind in SECTIONS.items():
        known = [item.name for item in fields(kind)]
        for key, written in getattr(space, section).items():
            place = (*at, section, key)
            if key not in known:
                yield Complaint(place, f"is no key of a pipeline's {section}; {did_you_mean(str(key), known)}")
            elif section == "train" and key in _SETTLED:
                yield Complaint(place, f"{_SETTLED[key]}; fix: leave it out")
            elif isinstance(written, dict):
                yield from _check_range(written, place, field_type(section, key), sweep.searcher)
            elif isinstance(written, list):
                yield from _check_values(written, place, field_type(section, key))
            else:
                yield Complaint(place, f"is {written!r}; fix: give a list of values, or a range {{min: ..., max: ...}}")


def _check_values(written: list[Any], place: tuple[str, ...], kind: Any) -> Iterator[Complaint]:
    if not written:
        yield Complaint(place, "is an empty list; fix: give values, or leave it out")
    yield from _check_twice(written, place)
    for value in written:
        if (reason := _wrong(value, kind)) is not None:
            yield Complaint(place, f"has the value {value!r}; it {reason}; fix: change the value")


def _check_twice(values: Any, place: tuple[str, ...]) -> Iterator[Complaint]:
    texts = [json.dumps(value) for value in values]
    twice = sorted({text for text in texts if texts.count(text) > 1})
    if twice:
        yield Complaint(place, f"has {', '.join(twice)} twice; fix: name each value once")


def _check_range(written: dict[str, Any], place: tuple[str, ...], kind: Any, searcher: str) -> Iterator[Complaint]:
    if number_type(kind) is None:
        yield Complaint(place, "is no number, so it has no range; fix: give a list of values")
        return
    if set(written) - {"log"} != {"min", "max"} or not isinstance(written.get("log", False), bool):
        yield Complaint(place, f"is {written!r}; fix: write a range as {{min: ..., max: ...}}, with log: true or without")
        return
    low, high = written["min"], written["max"]
    wrong = [(end, "is no number" if end is None else _wrong(end, kind)) for end in (low, high)]
    yield from (Complaint(place, f"has the end {end!r}; it {reason}; fix: change it") for end, reason in wrong if reason)
    if any(reason for _, reason in wrong):
        return
    if low >= high:
        yield Complaint(place, f"goes from {low} to {high}; fix: let min be less than max")
    elif written.get("log") and low <= 0:
        yield Complaint(place, f"goes from {low}, which has no logarithm; fix: let min be more than 0, or leave out log")
    if searcher == "grid":
        yield Complaint(place, "is a range, which has no end of values for searcher: grid; fix: list values")


def _wrong(value: Any, kind: Any) -> str | None:
    """Say what a key's type has against a value."""
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        return error.errors()[0]["msg"].removeprefix("Input ").removeprefix("Value error, ")
    return None


def _check_samples(space: Space) -> Iterator[Complaint]:
    """Check what values are together: whether each choice ever does something, and no sample is no network."""
    at = ("sweep", "space")
    setting = setting_for(space.pipeline, space.corpus)
    deciding = {name: it for name, it in space.choices.items() if name == "layers" or name.removeprefix("model.") in _DECIDING}
    does_something: set[str] = set()
    clashes: dict[tuple[str, ...], str] = {}
    for chosen in Space(deciding, space.pipeline, space.corpus).grid():
        model = space.apply(chosen).model
        does_something |= {name for name in space.choices if name in chosen or not space.is_idle(name, chosen)}
        for key, text in find_clashes(model, setting):
            clashes.setdefault((*at, "model", key), f"{text} (with {_told(chosen)})")
        for complaint in check_columns(model, space.corpus, (*at, "model")):
            clashes.setdefault(complaint.keys, complaint.text)
    yield from (Complaint(keys, text) for keys, text in clashes.items())
    for name in space.choices:
        if name not in does_something:
            yield Complaint((*at, *name.split(".")), "would do nothing with any choice of this sweep; fix: leave it out")


def _told(chosen: dict[str, Any]) -> str:
    return ", ".join(f"{name.rpartition('.')[2]}: {json.dumps(value)}" for name, value in chosen.items())
