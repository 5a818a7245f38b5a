"""Archives that trick whoever unpacks them: real ones, most of them made by writing a wheel and then lying in its bytes."""

import io
import stat
import struct
import tarfile
import zipfile

import pytest

from pipeline import archives
from pipeline.archives import unpack
from pipeline.errors import InfrastructureError, IntegrityError, ParamsError

MEMBER = "tiny/data/a.txt"
ENTRY, HEADER = b"PK\x01\x02", b"PK\x03\x04"
FLAGS, FLAGS_AT_HEADER, PACKED, SIZE, OFFSET = 8, 6, 20, 24, 42
"""Where an entry of a zip archive's directory, and the header before its content, keep what."""


def zipped(*entries, method=zipfile.ZIP_STORED):
    """Give an archive of (name or ZipInfo, content)."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return file.getvalue()


def lied(content, at, kind, *values, mark=ENTRY):
    """Write numbers over those of an archive's entries, one of each."""
    changed, place = bytearray(content), -1
    for value in values:
        place = changed.index(mark, place + 1)
        struct.pack_into(kind, changed, place + at, value)
    return bytes(changed)


def special(kind):
    info = zipfile.ZipInfo(MEMBER)
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    return zipped((info, "/etc/passwd"))


def tarred(kind, target=""):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        info = tarfile.TarInfo(MEMBER)
        info.type, info.linkname = kind, target
        archive.addfile(info)
    return file.getvalue()


def overlapping():
    two = zipped((MEMBER, b"a" * 100), ("tiny/data/b.txt", b"a" * 100))
    return lied(two, OFFSET, "<I", 0, 0)


def encrypted():
    return lied(lied(zipped((MEMBER, "a")), FLAGS, "<H", 1), FLAGS_AT_HEADER, "<H", 1, mark=HEADER)


BOMB = zipped((MEMBER, b"\0" * 5_000_000), method=zipfile.ZIP_DEFLATED)
PLAIN = zipped((MEMBER, b"abc " * 100), method=zipfile.ZIP_DEFLATED)
TRICKS = {
    "symbolic link": (special(stat.S_IFLNK), "link or a device"),
    "device": (special(stat.S_IFCHR), "link or a device"),
    "fifo": (special(stat.S_IFIFO), "link or a device"),
    "folder in its place": (special(stat.S_IFDIR), "link or a device"),
    "tar with a hard link": (tarred(tarfile.LNKTYPE, "/etc/passwd"), "neither tar"),
    "tar with a symbolic link": (tarred(tarfile.SYMTYPE, "../../escaped"), "neither tar"),
    "tar with a device": (tarred(tarfile.CHRTYPE), "neither tar"),
    "NUL in a name": (zipped((f"{MEMBER}#.exe", "a")).replace(b"#", b"\0"), "another name in truth"),
    "bomb by ratio": (BOMB, "as a bomb is"),
    "bomb that says it is small": (lied(BOMB, SIZE, "<I", 100), "can not be unpacked"),
    "says it is longer": (lied(PLAIN, SIZE, "<I", 500), "can not be unpacked"),
    "says it is shorter": (lied(PLAIN, SIZE, "<I", 300), "can not be unpacked"),
    "packed to more than there is": (lied(PLAIN, PACKED, "<I", 1 << 30), "overlaps"),
    "encrypted": (encrypted(), "is encrypted"),
    "overlapping entries": (overlapping(), "overlaps"),
    "cut off": (PLAIN[:-30], "can not be unpacked"),
    "unknown method": (lied(PLAIN, 10, "<H", 77), "can not be unpacked"),
}


def unpacked(tmp_path, content, *members):
    """Unpack in a folder deep inside another; gives the files there and all that lie outside."""
    path, out = tmp_path / "tiny.whl", tmp_path / "deep" / "er" / "raw"
    path.write_bytes(content)
    out.mkdir(parents=True)
    try:
        unpack(path, members or (MEMBER,), out)
    finally:
        outside = [file for file in tmp_path.rglob("*") if out not in (file, *file.parents) and not file.is_dir()]
        assert outside == [path]
    return {file.name: file.read_bytes() for file in out.iterdir()}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("trick", TRICKS)
def test_a_trick_is_refused_and_nothing_stays(tmp_path, trick):
    content, says = TRICKS[trick]
    with pytest.raises(IntegrityError, match=says):
        unpacked(tmp_path, content)
    assert list((tmp_path / "deep" / "er" / "raw").iterdir()) == []


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path):
    with pytest.raises(IntegrityError, match="2 times"):
        unpacked(tmp_path, zipped((MEMBER, "a"), (MEMBER, "b")))


@pytest.mark.parametrize(
    "member",
    ["../../escaped.txt", "/etc/escaped.txt", "..\\..\\escaped.txt", "C:\\escaped.txt", "C:escaped.txt", "a/./b", "a//b"],
)
def test_a_name_that_leads_elsewhere_is_refused_though_the_archive_has_it(tmp_path, member):
    with pytest.raises(ParamsError, match="no path inside a wheel"):
        unpacked(tmp_path, zipped((member, "a")), member)


def test_two_files_of_one_last_name_are_refused(tmp_path):
    with pytest.raises(ParamsError, match=r"a\.txt"):
        unpacked(tmp_path, zipped(("x/a.txt", "a"), ("y/a.txt", "b")), "x/a.txt", "y/a.txt")


def test_more_than_the_cap_is_refused_before_a_byte_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_BYTES", 5000)
    content = zipped(("x/a.txt", "a" * 3000), ("y/b.txt", "b" * 3000))
    assert set(unpacked(tmp_path, content, "x/a.txt")) == {"a.txt"}
    with pytest.raises(IntegrityError, match="6,000 bytes"):
        unpack(tmp_path / "tiny.whl", ("x/a.txt", "y/b.txt"), tmp_path)
    assert not (tmp_path / "a.txt").exists()


def test_what_the_disk_does_not_hold_is_not_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_BYTES", 1 << 60)
    (tmp_path / "tiny.whl").write_bytes(zipped((MEMBER, "a")))
    with pytest.raises(InfrastructureError, match="make room"):
        archives._demand_room(tmp_path / "tiny.whl", 1 << 59, tmp_path)


def test_an_archive_inside_comes_out_as_it_is(tmp_path):
    inner = zipped(("../../escaped.txt", "a"))
    assert unpacked(tmp_path, zipped((MEMBER, inner))) == {"a.txt": inner}


def test_text_that_packs_well_is_no_bomb(tmp_path):
    text = b"".join(b"%d\tword\tNOUN\n" % i for i in range(100_000))
    assert unpacked(tmp_path, zipped((MEMBER, text), method=zipfile.ZIP_DEFLATED)) == {"a.txt": text}
