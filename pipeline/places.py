"""Where params.yaml and corpora.yaml may send us: to files right in their folders, to hosts over https, and with no password.

What stands in these two files is kept in dvc.lock, in runs and with versions, so what is secret can not stand there.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.config import ScalingConfig, Source, UrlSource, WheelSource
from pipeline.names import is_inside, is_plain

PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.+!_-]*")
"""What `package` is: pip would take an option, a path or an address as well."""

_HOST = re.compile(r"https://([^/@?#]*@)?[A-Za-z0-9.-]+(:[0-9]+)?/")


@dataclass(frozen=True)
class Complaint:
    """What is wrong with a key, which its path names; `text` goes on after it."""

    keys: tuple[str, ...]
    text: str


def check_places(at: tuple[str, ...], source: Source, files: Mapping[tuple[str, ...], str]) -> Iterator[Complaint]:
    """Check one entry of the catalogue.

    Args:
        at: its keys; the last is its name, and that of its folder in a mirror.
        source: where it comes from.
        files: keys below `at` -> file that is named there.
    """
    if not is_plain(at[-1]):
        yield Complaint(at, f"is {at[-1]!r}, which is no name for a folder; fix: use letters, digits, - and _")
    for keys, file in files.items():
        if not is_plain(file):
            yield Complaint((*at, *keys), f"is {file!r}, which is no name of a file; fix: name it without its folder")
    if isinstance(source, UrlSource):
        yield from _check_url((*at, "source"), source)
    elif isinstance(source, WheelSource):
        yield from _check_wheel((*at, "source"), source)


def _check_url(at: tuple[str, ...], source: UrlSource) -> Iterator[Complaint]:
    if _HOST.match(source.base) is None or not source.base.endswith("/"):
        text = "is no address of a folder; fix: begin it with https:// and a host, and end it with a slash"
        yield Complaint((*at, "base"), text)
    if "@" in _authority(source.base) or "?" in source.base or "#" in source.base:
        text = "holds a name, a password or a token, or has room for one; fix: leave it out; of names and passwords for hosts "
        yield Complaint((*at, "base"), text + "~/.netrc is read")
    for name in source.files:
        if not is_plain(name):
            yield Complaint((*at, "files", name), "is no name of a file; fix: name it without its folder")


def _check_wheel(at: tuple[str, ...], source: WheelSource) -> Iterator[Complaint]:
    if not PACKAGE.fullmatch(source.package):
        yield Complaint((*at, "package"), f"is {source.package!r}; fix: write it as name==version")
    for member in source.members:
        if not is_inside(member):
            yield Complaint((*at, "members"), f"has {member!r}, which is no path inside a wheel; fix: correct it")


def check_storage(scaling: ScalingConfig) -> Iterator[Complaint]:
    """See that `scaling.storage` holds no password, which belongs into the environment."""
    if "@" in _authority(scaling.storage or ""):
        text = "holds a name or a password; fix: leave it out; credentials are read from the environment"
        yield Complaint(("scaling", "storage"), text)


def _authority(address: str) -> str:
    """Give what stands before the path of a URL; nothing of what is none."""
    return address.partition("://")[2].partition("/")[0]
