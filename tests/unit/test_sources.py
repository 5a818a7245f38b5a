"""Fetching: what is pinned comes whole, what is not never stays. The mirror and one's own folder need no network."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from pipeline.config import PathSource, UrlFile, UrlSource, WheelSource
from pipeline.errors import DataError, IntegrityError, ParamsError
from pipeline.sources import fetch_source

CONTENT = b"yes it rains\nno it does not\n"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def url_source(content: bytes = CONTENT, base: str = "https://example.invalid/") -> UrlSource:
    return UrlSource("url", base, {"a.txt": UrlFile(sha256(content), len(content))})


def wheel_source(path: Path, *members: str, sha: str | None = None) -> WheelSource:
    return WheelSource("wheel", "tiny-corpus==1.0", sha or sha256(path.read_bytes()), members)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    folder = tmp_path / "mirror"
    (folder / "tiny").mkdir(parents=True)
    monkeypatch.setenv("UNROLL_MIRROR", str(folder))
    return folder / "tiny"


@pytest.fixture
def wheel(mirror):
    path = mirror / "tiny_corpus-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny/data/a.txt", CONTENT)
        archive.writestr("tiny/run_me.py", "raise SystemExit")
        archive.writestr("../../escaped.txt", "outside")
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_a_mirrored_file_comes_without_the_network(mirror, tmp_path):
    (mirror / "a.txt").write_bytes(CONTENT)
    fetch_source(url_source(), "tiny", tmp_path / "raw")
    assert (tmp_path / "raw" / "a.txt").read_bytes() == CONTENT


def test_a_second_fetch_changes_nothing(mirror, tmp_path):
    (mirror / "a.txt").write_bytes(CONTENT)
    for _ in range(2):
        fetch_source(url_source(), "tiny", tmp_path / "raw")
    assert names(tmp_path / "raw") == ["a.txt"]


def test_a_wrong_hash_names_both(mirror, tmp_path):
    (mirror / "a.txt").write_bytes(b"changed")
    with pytest.raises(IntegrityError) as caught:
        fetch_source(url_source(), "tiny", tmp_path / "raw")
    assert sha256(b"changed") in str(caught.value) and sha256(CONTENT) in str(caught.value)


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"more", b""], ids=["short", "long", "empty"])
def test_what_does_not_match_leaves_nothing_behind(mirror, tmp_path, content):
    (mirror / "a.txt").write_bytes(content)
    with pytest.raises(IntegrityError):
        fetch_source(url_source(), "tiny", tmp_path / "raw")
    assert names(tmp_path / "raw") == []


def test_an_address_without_https_is_refused(tmp_path):
    with pytest.raises(ParamsError, match="not https"):
        fetch_source(url_source(base="http://example.invalid/"), "tiny", tmp_path / "raw")


def test_only_the_named_members_of_a_wheel_come_by_their_last_name(wheel, tmp_path):
    fetch_source(wheel_source(wheel, "tiny/data/a.txt"), "tiny", tmp_path / "raw")
    assert names(tmp_path / "raw") == ["a.txt"]


def test_a_wheel_with_another_hash_is_not_opened(wheel, tmp_path):
    with pytest.raises(IntegrityError):
        fetch_source(wheel_source(wheel, "tiny/data/a.txt", sha="0" * 64), "tiny", tmp_path / "raw")
    assert names(tmp_path / "raw") == []


def test_a_member_that_the_wheel_lacks_is_named(wheel, tmp_path):
    with pytest.raises(ParamsError, match=r"tiny/other\.txt"):
        fetch_source(wheel_source(wheel, "tiny/other.txt"), "tiny", tmp_path / "raw")


def test_files_of_ones_own_are_linked_so_that_a_change_is_seen(tmp_path):
    own = tmp_path / "own"
    (own / "deeper").mkdir(parents=True)
    (own / "a.txt").write_bytes(CONTENT)
    for _ in range(2):
        fetch_source(PathSource("path", str(own)), "tiny", tmp_path / "raw")
    (own / "a.txt").write_bytes(b"changed")
    assert names(tmp_path / "raw") == ["a.txt"]
    assert (tmp_path / "raw" / "a.txt").read_bytes() == b"changed"


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        fetch_source(PathSource("path", str(tmp_path / "nowhere")), "tiny", tmp_path / "raw")
