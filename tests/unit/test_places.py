import pytest

from pipeline.config import PathSource, ScalingConfig, UrlFile, UrlSource, WheelSource
from pipeline.errors import ParamsError
from pipeline.places import check_places, check_storage
from pipeline.sources import fetch_source

AT = ("corpora", "mine")
FILE = UrlFile("0" * 64, 5)


def complaints(source, files=None, at=AT):
    return [".".join(it.keys) + " " + it.text for it in check_places(at, source, files or {})]


@pytest.mark.parametrize("base", ["https://example.org/", "https://example.org:8443/a/b-c_d/%20/", "https://127.0.0.1/x/"])
def test_a_plain_address_is_right(base):
    assert complaints(UrlSource("url", base, {"a b.txt": FILE})) == []


@pytest.mark.parametrize(
    "base",
    ["http://example.org/", "file:///etc/", "ftp://example.org/", "https:///x/", "https://[bad/", "https://example.org/a", ""],
)
def test_what_is_no_address_of_a_folder_over_https_is_named(base):
    (said,) = complaints(UrlSource("url", base, {}))
    assert said.startswith("corpora.mine.source.base is no address of a folder")


@pytest.mark.parametrize(
    "base", ["https://ann:hunter2@example.org/", "https://hunter2@example.org/", "https://example.org/?token=hunter2&a=/"]
)
def test_an_address_with_a_secret_is_refused_and_the_secret_not_said(base):
    (said,) = complaints(UrlSource("url", base, {}))
    assert "~/.netrc" in said and "hunter2" not in said


@pytest.mark.parametrize("name", ["../a.txt", "/etc/passwd", "a/b.txt", "..", "", "a\\b.txt", "C:a.txt", "a\0b"])
def test_a_file_name_that_is_a_path_is_named_and_not_fetched(tmp_path, name):
    source = UrlSource("url", "https://127.0.0.1:1/", {name: FILE})
    assert "is no name of a file" in complaints(source)[0]
    assert "is no name of a file" in complaints(PathSource("path", "x"), {("splits", "train"): name})[0]
    with pytest.raises(ParamsError, match="no name of a file"):
        fetch_source(source, "mine", tmp_path / "raw")


@pytest.mark.parametrize(
    "package", ["--index-url=http://evil", "-r/etc/passwd", "a @ http://evil/a.whl", "./a.whl", "a", "a==1 b==2", "a==1;x", ""]
)
def test_a_package_that_pip_would_take_for_something_else_is_refused(tmp_path, package):
    source = WheelSource("wheel", package, "0" * 64, ("a.txt",))
    assert "name==version" in complaints(source)[0]
    with pytest.raises(ParamsError, match="name==version"):
        fetch_source(source, "mine", tmp_path / "raw")


def test_a_corpus_whose_name_leads_out_of_a_mirror_is_named():
    assert "no name for a folder" in complaints(PathSource("path", "x"), at=("corpora", "../../etc"))[0]


@pytest.mark.parametrize(
    ("storage", "is_right"),
    [(None, True), ("s3://bucket/prefix", True), ("/shared/me@work", True), ("s3://key:secret@bucket/prefix", False)],
)
def test_a_storage_with_a_password_is_refused(storage, is_right):
    found = list(check_storage(ScalingConfig(storage=storage)))
    assert (found == []) == is_right and "secret" not in str(found)
