"""Named files out of a zip archive, such as a wheel, that nobody vouches for. Nothing else of it is unpacked, and nothing run.

What comes out is a regular file under its last name in a folder, no longer than the archive says, and no longer than is sane.
Another kind of archive, tar among them, is not opened.
"""

import lzma
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pipeline.errors import InfrastructureError, IntegrityError, ParamsError
from pipeline.names import is_inside

_CHUNK = 1 << 20
MOST_BYTES = 4 << 30
"""More than this, of all named files together, is taken for a bomb."""
_MOST_TIMES, _NEVER_A_BOMB = 200, 1 << 20
"""So does a file that was packed into less than the 200th part of itself, where it is larger than that: text takes a fifth."""
_LOCAL_HEADER = 30
"""Bytes before the name of an entry, which stands before its content."""
_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, struct.error, RuntimeError, ValueError, OSError)
"""What zipfile raises where an archive is not what it says: a wrong sum, a password, a method that it does not know."""


def unpack(path: Path, members: Sequence[str], out_dir: Path) -> None:
    """Take files out of an archive, each in one move.

    Args:
        path: of the archive.
        members: paths inside it.
        out_dir: where each goes under its last name.

    Raises:
        ParamsError: the archive has no such file, or two would have one name.
        IntegrityError: it is no zip archive, or one that tricks whoever unpacks it.
        InfrastructureError: the disk does not hold so much.
    """
    _demand_places(members)
    try:
        with zipfile.ZipFile(path) as archive:
            _demand_apart(path, archive)
            found = [_find(path, archive, member) for member in members]
            _demand_room(path, sum(info.file_size for info in found), out_dir)
            for info in found:
                _extract(archive, info, out_dir / PurePosixPath(info.filename).name)
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's; what bz2 finds broken has no number
        raise IntegrityError(
            f"{path.name}: can not be unpacked; {error}; only zip archives are, as wheels are, neither tar nor another; "
            "fix: do not trust it"
        ) from error


def _demand_places(members: Sequence[str]) -> None:
    for member in members:
        if not is_inside(member):
            raise ParamsError(f"corpora.yaml: members has {member!r}, which is no path inside a wheel; fix: correct it")
    names = [PurePosixPath(member).name for member in members]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ParamsError(f"corpora.yaml: members has two files of the name {', '.join(twice)}; fix: leave one out")


def _demand_apart(path: Path, archive: zipfile.ZipFile) -> None:
    """See that no two entries are made of the same bytes, by which a small archive unpacks to any size."""
    entries = sorted(archive.infolist(), key=lambda info: info.header_offset)
    ends = [*(info.header_offset for info in entries[1:]), archive.start_dir]
    for info, end in zip(entries, ends, strict=False):
        if info.header_offset < 0:
            raise IntegrityError(f"{path.name}: {info.filename!r} stands before the archive itself; fix: do not trust it")
        if info.header_offset + _LOCAL_HEADER + info.compress_size > end:
            raise IntegrityError(f"{path.name}: {info.filename!r} overlaps with what follows; fix: do not trust it")


def _find(path: Path, archive: zipfile.ZipFile, member: str) -> zipfile.ZipInfo:
    """Give the one entry of a name, if it is a regular file of a sane size."""
    found = [info for info in archive.infolist() if info.filename == member]
    if not found:
        raise ParamsError(f"corpora.yaml: the wheel has no {member}; fix: correct `members`")
    info, kind = found[0], stat.S_IFMT(found[0].external_attr >> 16)
    wrong = {
        f"is there {len(found)} times": len(found) > 1,
        f"has another name in truth, {info.orig_filename!r}": info.orig_filename != info.filename,
        "is no regular file, but a folder, a link or a device": info.is_dir() or kind not in (0, stat.S_IFREG),
        "is encrypted": bool(info.flag_bits & 1),
        f"is {info.file_size:,} bytes packed into {info.compress_size:,}, as a bomb is": (
            info.file_size > max(_NEVER_A_BOMB, _MOST_TIMES * info.compress_size)
        ),
    }
    for what, is_so in wrong.items():
        if is_so:
            raise IntegrityError(f"{path.name}: {member} {what}; fix: do not trust it")
    return info


def _demand_room(path: Path, num_bytes: int, out_dir: Path) -> None:
    if num_bytes > MOST_BYTES:
        raise IntegrityError(f"{path.name}: the files are {num_bytes:,} bytes, {MOST_BYTES:,} are taken; fix: do not trust it")
    free = shutil.disk_usage(out_dir).free
    if num_bytes > free:
        raise InfrastructureError(f"{out_dir}: {num_bytes:,} bytes needed, {free:,} are free; fix: make room")


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    try:
        with archive.open(info) as packed, partial.open("xb") as file:
            shutil.copyfileobj(packed, file, _CHUNK)  # no further than `file_size`, then its sum is compared
            if file.tell() != info.file_size:
                raise zipfile.BadZipFile(f"{info.filename} has {file.tell():,} bytes, not {info.file_size:,}")
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
