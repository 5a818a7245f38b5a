"""Versions of a model in MLflow's registry, and which of them is champion, also where several processes register at once.

MLflow knows no transactions. Where its store is a file on this machine, one process at a time works on a model's versions: a file
beside the store is locked. Of a store behind a server this holds, whoever runs at once and however slow:

- A run has one version: of several that were created for it at once the oldest stays.
- Whoever may be champion claims it first, in a tag of its version, then sets the alias, and then looks at claims and alias again
  until the alias is at the best claim: the higher test score, and of equal ones the older version. Of those that register at once
  the best is therefore champion as soon as all have come to their ends, in whatever order they did; each was found better than
  some champion that stood when it began. Who was asked other test examples, or by another metric, is no rival.
- What a process left that was killed in between is put right by whoever registers next, or by registering its run again.
"""

import fcntl
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO

from pipeline.errors import InfrastructureError, ParamsError
from pipeline.failpoints import reach
from pipeline.tracking_store import SQLITE, client, if_there, insist, shown_uri, tracking_uri
from pipeline.versions import Version, champion, version_from

logger = logging.getLogger(__name__)

SINCE = "champion_since"
"""Tag of a version: when it became champion, last."""
ROLLED_BACK = "rolled_back"
"""Tag of a version: when a person took the alias from it."""
_CLAIM = "claim"


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Hold a model's versions against other processes of this machine, where the store is a file on it."""
    uri = tracking_uri()
    if not uri.startswith(SQLITE):
        yield
        return
    store = Path(uri.removeprefix(SQLITE).partition("?")[0]).resolve()
    store.parent.mkdir(parents=True, exist_ok=True)
    with store.with_name(f"{store.name}.{name}.lock").open("a", encoding="utf-8") as file:
        _wait_for(file, name)
        yield


def _wait_for(file: IO[str], name: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        logger.info("%s: waits for another process that registers it", name)
        fcntl.flock(file, fcntl.LOCK_EX)


def versions(name: str) -> list[Version]:
    """Give all versions of a model, oldest first."""
    found, pages = [], client().search_model_versions(f"name='{name}'")
    while True:
        found += [version_from(entry) for entry in pages]
        if not pages.token:
            return sorted(found, key=_age)
        pages = client().search_model_versions(f"name='{name}'", page_token=pages.token)


def find_version(name: str, wanted: str) -> Version | None:
    """Give a version by its number or by an alias; None where there is none."""
    ask = client().get_model_version if wanted.isdecimal() else client().get_model_version_by_alias
    found = if_there(partial(ask, name, wanted))
    return None if found is None else version_from(found)


def resolve(address: str) -> Version:
    """Give the version at an address: `pos@champion`, `pos/3`, or `pos` for its champion.

    Raises:
        ParamsError: there is none.
    """
    text = address.removeprefix("models:/")
    name, sign, wanted = text.partition("@" if "@" in text else "/")
    is_name = re.fullmatch(r"[A-Za-z0-9_.-]+", name) is not None
    found = find_version(name, wanted if sign else "champion") if is_name and (wanted or not sign) else None
    if found is None:
        there = ", ".join(version.number for version in (versions(name) if is_name else [])) or "none"
        raise ParamsError(f"{address}: not in the registry at {shown_uri()}; versions of {name}: {there}; fix: name one, pos/3")
    return found


def aliases(version: Version) -> list[str]:
    """Give the aliases of a version."""
    return sorted(client().get_model_version(version.name, version.number).aliases)


def enter(name: str, run_id: str, create: Callable[[], Version]) -> Version:
    """Give the one version of a run.

    Args:
        name: of the model.
        run_id: the run.
        create: makes a version, called where the run has none. It may be gone before `create` is through with it: another process
            that registers the same run keeps the older one.

    Raises:
        InfrastructureError: there is none after all.
    """
    if not _of_run(name, run_id):
        if_there(partial(insist, create))
    if not _of_run(name, run_id):
        raise InfrastructureError(f"{shown_uri()}: MLflow kept no version of {name} for run {run_id}; fix: register it again")
    kept, *others = sorted(_of_run(name, run_id), key=lambda version: (SINCE not in version.tags, _age(version)))
    for other in others:
        if_there(partial(insist, partial(client().delete_model_version, name, other.number)))
    return kept


def _of_run(name: str, run_id: str) -> list[Version]:
    return [version_from(entry) for entry in client().search_model_versions(f"name='{name}' and run_id='{run_id}'")]


def complete(version: Version, tags: Mapping[str, str], description: str) -> None:
    """Have a version carry tags and a description, whatever of them it has already."""
    insist(partial(client().update_model_version, version.name, version.number, description=description))
    tag(version, {key: value for key, value in tags.items() if version.tags.get(key) != value})


def tag(version: Version, tags: Mapping[str, str]) -> None:
    """Set tags of a version."""
    for key, value in tags.items():
        insist(partial(client().set_model_version_tag, version.name, version.number, key, value))


def untag(version: Version, *keys: str) -> None:
    """Remove those of these tags that a version has."""
    for key in keys:
        if key in _fresh(version).tags:
            if_there(partial(insist, partial(client().delete_model_version_tag, version.name, version.number, key)))


def _fresh(version: Version) -> Version:
    return version_from(client().get_model_version(version.name, version.number))


@dataclass(frozen=True)
class Claim:
    """What a version that may be champion says before it is.

    Attributes:
        exam: a hash of what it was asked, and of how that was scored.
        score: its own.
        past: numbers of those that were or had been champion when it was judged: they are no rivals.
    """

    exam: str
    score: float
    past: list[str]

    @classmethod
    def of(cls, version: Version | None) -> "Claim | None":
        """Read a version's claim."""
        return None if version is None or _CLAIM not in version.tags else cls(**json.loads(version.tags[_CLAIM]))


@dataclass(frozen=True)
class Outcome:
    """How a version came out.

    Attributes:
        is_champion: whether it is champion.
        better: another that was registered at the same time and scores more, if that is why it is not.
    """

    is_champion: bool
    better: Version | None = None


def settle(version: Version, exam: str, judge: Callable[[Version | None], float | None]) -> Outcome:
    """Make a version champion if it may be, else challenger.

    Args:
        version: of `enter`.
        exam: a hash of what it is asked, and of how that is scored.
        judge: called with a champion, or None where there is none but the version itself, which stays champion until another
            takes its place; gives the version's score where it may be champion.
    """
    name = version.name
    _mend(name)
    while True:
        past = [other.number for other in versions(name) if SINCE in other.tags and other.number != version.number]
        before = champion(name)
        if before is not None and before.number == version.number:
            judge(None)
            _note_champion(version, since=None if SINCE in before.tags else _now())
            return Outcome(True)
        if before is not None and SINCE not in before.tags and Claim.of(before) is None:
            tag(before, {SINCE: _now()})  # made champion by hand, or before this was noted
        score = judge(before)
        if score is None:
            set_alias(version, "challenger")
            return Outcome(False)
        if _number(champion(name)) == _number(before):
            break
    claim = Claim(exam, score, past)
    tag(version, {_CLAIM: json.dumps(vars(claim))})
    reach("register: claimed")
    best = _give_to_best(name, claim)
    if best.number == version.number:
        _note_champion(version, since=_now())
        return Outcome(True)
    untag(version, _CLAIM, *((SINCE,) if SINCE not in version.tags else ()))
    set_alias(version, "challenger")
    return Outcome(False, best)


def _mend(name: str) -> None:
    """Finish what a process left that was killed as it made a version champion."""
    found = champion(name)
    claim = Claim.of(found)
    if found is not None and claim is not None and SINCE not in found.tags:
        tag(_give_to_best(name, claim), {SINCE: _now()})


def _give_to_best(name: str, claim: Claim) -> Version:
    """Set the alias to the best claim, until it stays there."""
    while True:
        best = _best(versions(name), claim)
        if _number(champion(name)) == best.number:
            return best
        set_alias(best, "champion")
        reach("register: alias set")


def _best(everyone: list[Version], claim: Claim) -> Version:
    """Give the version with the best of a claim's rivals, itself among them."""
    claims = [
        (own.score, -_age(version), version) for version in everyone if (own := Claim.of(version)) and _vies(version, claim)
    ]
    return max(claims, key=lambda entry: entry[:2])[2]


def _vies(version: Version, claim: Claim) -> bool:
    own = Claim.of(version)
    is_past = version.number in claim.past or ROLLED_BACK in version.tags
    return own is not None and own.exam == claim.exam and not is_past


def _note_champion(version: Version, since: str | None) -> None:
    """Note since when a version is champion, if that is new; it is challenger no more."""
    if since is not None:
        tag(version, {SINCE: since})
    untag(version, ROLLED_BACK)
    if _number(find_version(version.name, "challenger")) == version.number:
        if_there(partial(insist, partial(client().delete_registered_model_alias, version.name, "challenger")))


def appoint(version: Version) -> None:
    """Make a version champion because a person wants it so."""
    untag(version, _CLAIM)
    set_alias(version, "champion")
    _note_champion(version, since=_now())


def champions(name: str) -> list[Version]:
    """Give those that are or were champion and were not rolled back, the last one first."""
    past = [version for version in versions(name) if SINCE in version.tags and ROLLED_BACK not in version.tags]
    return sorted(past, key=lambda version: version.tags[SINCE], reverse=True)


def roll_back(current: Version, previous: Version) -> None:
    """Give the alias back to one that was champion before."""
    tag(current, {ROLLED_BACK: _now()})
    untag(current, _CLAIM)
    set_alias(previous, "champion")


def set_alias(version: Version, alias: str) -> None:
    """Give a version an alias, which leaves the version that had it."""
    insist(partial(client().set_registered_model_alias, version.name, alias, version.number))


def describe_model(version: Version, tags: Mapping[str, str]) -> None:
    """Let a registered model's page say what one of its versions is, with tags for the list of all models."""
    own = client()
    text = own.get_model_version(version.name, version.number).description
    insist(partial(own.update_registered_model, version.name, text))
    for key, value in tags.items():
        insist(partial(own.set_registered_model_tag, version.name, key, value))


def describe_anew(version: Version) -> None:
    """Let a registered model's page say what its new champion is, under the tags that it has."""
    known = client().get_registered_model(version.name).tags
    told = {key: version.tags.get(key, version.tags.get(f"test_{key}")) for key in known}
    describe_model(version, {key: value for key, value in told.items() if value is not None})


def _number(version: Version | None) -> str | None:
    return None if version is None else version.number


def _age(version: Version) -> int:
    return int(version.number)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
