"""Downloads from a real host over https that breaks off, lies or leads elsewhere."""

import hashlib
from pathlib import Path

import pytest
from https_host import hosted, make_certificate

from pipeline import downloads
from pipeline.config import UrlFile, UrlSource
from pipeline.errors import InfrastructureError, IntegrityError
from pipeline.sources import fetch_source

CONTENT = bytes(range(256)) * 4096
CHUNK = downloads._CHUNK
HALF = 8 * CHUNK


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    path = tmp_path_factory.mktemp("certificate") / "host.pem"
    make_certificate(path)
    return path


@pytest.fixture
def host(certificate, tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.delenv("UNROLL_MIRROR", raising=False)
    monkeypatch.setattr(downloads, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(downloads, "Retry", lambda *_, **options: 0)
    monkeypatch.chdir(tmp_path)
    with hosted(CONTENT, certificate) as running:
        yield running


def fetch(host, expected=CONTENT, num_bytes=None):
    source = UrlSource("url", host.url, {"a.bin": UrlFile(sha256(expected), num_bytes or len(expected))})
    fetch_source(source, "tiny", Path("raw"))
    return Path("raw/a.bin").read_bytes()


def left(tmp_path):
    """Name all that a fetch left, save the locks."""
    return [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_file_comes_whole_in_one_request(host, tmp_path):
    assert fetch(host) == CONTENT
    assert host.asked == [None] and left(tmp_path) == ["raw/a.bin"]


def test_what_broke_off_goes_on_where_it_was(host, tmp_path):
    host.breaks = [HALF, CHUNK]
    assert fetch(host) == CONTENT
    assert host.asked == [None, f"bytes={HALF}-", f"bytes={HALF + CHUNK}-"] and left(tmp_path) == ["raw/a.bin"]


def test_what_broke_off_begins_anew_where_the_host_gives_no_parts(host):
    host.breaks, host.takes_ranges = [HALF], False
    assert fetch(host) == CONTENT and host.asked == [None, f"bytes={HALF}-"]


def test_a_fetch_that_was_killed_goes_on_in_the_next(host, tmp_path, monkeypatch):
    host.breaks = [HALF]
    with monkeypatch.context() as killed:
        killed.setattr(downloads.time, "sleep", lambda _: (_ for _ in ()).throw(KeyboardInterrupt) if host.asked else None)
        with pytest.raises(KeyboardInterrupt):
            fetch(host)
    assert not (tmp_path / "raw" / "a.bin").exists()
    assert fetch(host) == CONTENT and host.asked == [None, f"bytes={HALF}-"]


def test_what_stays_cut_short_is_deleted_with_both_hashes_told(host, tmp_path):
    host.breaks = [HALF, *[0] * 10]
    with pytest.raises(IntegrityError) as caught:
        fetch(host)
    assert sha256(CONTENT[:HALF]) in str(caught.value) and sha256(CONTENT) in str(caught.value)
    assert left(tmp_path) == [] and len(host.asked) == 4


def test_a_file_that_is_shorter_than_promised_is_deleted(host, tmp_path):
    host.says_length = False
    with pytest.raises(IntegrityError, match=sha256(CONTENT)):
        fetch(host, CONTENT + b"more")
    assert left(tmp_path) == []


def test_a_wrong_hash_is_told_with_the_right_one_and_nothing_stays(host, tmp_path):
    other = CONTENT[::-1]
    with pytest.raises(IntegrityError) as caught:
        fetch(host, other)
    assert sha256(CONTENT) in str(caught.value) and sha256(other) in str(caught.value) and left(tmp_path) == []


@pytest.mark.parametrize("says_length", [True, False])
def test_no_more_is_read_than_was_promised(host, tmp_path, says_length):
    host.content, host.says_length = CONTENT * 20, says_length
    with pytest.raises(IntegrityError, match=f"longer than {len(CONTENT)} bytes"):
        fetch(host)
    assert left(tmp_path) == []


def test_what_the_disk_does_not_hold_is_not_begun(host):
    with pytest.raises(InfrastructureError, match="make room"):
        fetch(host, num_bytes=1 << 60)
    assert host.asked == []


def test_http_is_not_followed_to_be_asked_a_single_thing(host, tmp_path):
    with hosted(CONTENT) as plain:
        host.leads_to = plain.url
        with pytest.raises(IntegrityError, match="not https"):
            fetch(host)
        assert plain.asked == [] and left(tmp_path) == []


def test_https_is_followed(host, certificate):
    with hosted(CONTENT, certificate) as other:
        host.leads_to = other.url
        assert fetch(host) == CONTENT


def test_a_host_whose_certificate_nobody_vouches_for_is_refused(host, tmp_path, monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(IntegrityError, match="not who it says"):
        fetch(host)
    assert host.asked == [] and left(tmp_path) == []


def test_no_answer_is_the_networks_fault(host):
    host.shutdown()  # a socket that is still polled would take the connection and break it
    host.server_close()
    with pytest.raises(InfrastructureError, match="can not be fetched"):
        fetch(host)
