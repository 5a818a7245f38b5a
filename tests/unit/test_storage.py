"""What every store promises, over a folder and over an object store that fsspec keeps in this process's memory."""

import signal
import sys
from collections import Counter
from contextlib import contextmanager

import fsspec
import pytest

from pipeline import failpoints
from pipeline.errors import InfrastructureError, StoppedError
from pipeline.manifest import MANIFEST, check_manifest, write_manifest
from pipeline.storage import DiskStore, ObjectStore, join, open_store, reading


@pytest.fixture(params=["disk", "memory"])
def address(request, tmp_path):
    if request.param == "disk":
        return str(tmp_path / "kept" / "here")
    request.addfinalizer(fsspec.filesystem("memory").store.clear)
    return f"memory://bucket/{tmp_path.name}"


@pytest.fixture
def store(address):
    return open_store(address)


def write(store, name, files=(("a.txt", "a"), ("sub/b.txt", "b"))):
    with store.writing(name) as folder:
        for path, text in dict(files).items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text)
        write_manifest(folder)


def read(store, name):
    with store.reading(name) as folder:
        check_manifest(folder)
        files = (path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
        return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def raw(address):
    """Give the file system that a store is in, and the path of the store."""
    return fsspec.core.url_to_fs(address)


def files_of(address):
    files, root = raw(address)
    return sorted(path.removeprefix(root).lstrip("/") for path in files.find(root))


def fail_at(monkeypatch, *points):
    monkeypatch.setenv("UNROLL_FAILPOINTS", "; ".join(points))
    monkeypatch.setattr(failpoints, "_passed", Counter())


def test_an_address_says_which_store_it_is(tmp_path):
    assert isinstance(open_store(tmp_path), DiskStore) and isinstance(open_store(str(tmp_path)), DiskStore)
    assert isinstance(open_store("memory://bucket/prefix"), ObjectStore)


def test_opening_makes_nothing(address):
    assert open_store(address).names() == [] and files_of(address) == []


def test_what_is_written_is_named_in_order_and_read(store):
    write(store, "step-2")
    write(store, "step-10")
    write(store, "final", {"c.txt": "c"})
    write(store, "final-2")
    assert store.names() == ["final", "final-2", "step-10", "step-2"]
    assert read(store, "step-2") == {"a.txt": "a", "sub/b.txt": "b"} and read(store, "final") == {"c.txt": "c"}


def test_another_process_reads_what_was_written(address):
    write(open_store(address), "step-1")
    assert open_store(address).names() == ["step-1"]
    with reading(join(address, "step-1")) as folder:
        assert (folder / "sub" / "b.txt").read_text() == "b"


def test_what_stands_there_is_replaced_with_nothing_of_it_left(store):
    write(store, "step-1", {"a.txt": "a", "old.txt": "old", "sub/old.txt": "old"})
    write(store, "step-1", {"a.txt": "new"})
    assert store.names() == ["step-1"] and read(store, "step-1") == {"a.txt": "new"}


def test_what_has_no_manifest_is_not_there(store, address):
    write(store, "step-1")
    write(store, "step-2")
    files, root = raw(address)
    files.rm_file(f"{root}/step-2/{MANIFEST}")
    assert store.names() == ["step-1"]


def test_a_manifest_further_down_makes_no_folder_whole(store, address):
    write(store, "step-1", {"a.txt": "a", f"sub/{MANIFEST}": "{}"})
    files, root = raw(address)
    files.rm_file(f"{root}/step-1/{MANIFEST}")
    assert store.names() == []


def test_a_folder_whose_name_only_begins_alike_is_another(store):
    write(store, "step-1")
    write(store, "step-10", {"c.txt": "c"})
    assert read(store, "step-1") == {"a.txt": "a", "sub/b.txt": "b"}
    store.remove("step-1")
    assert store.names() == ["step-10"] and read(store, "step-10") == {"c.txt": "c"}


def test_while_it_is_written_it_is_not_there(store):
    with store.writing("step-1") as folder:
        (folder / "a.txt").write_text("a")
        write_manifest(folder)
        assert store.names() == []
    assert store.names() == ["step-1"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_writing_that_is_broken_off_leaves_nothing_that_is_read_and_the_one_before_stays(store, error):
    write(store, "step-1", {"a.txt": "before"})
    for name in ("step-1", "step-2"):
        with pytest.raises(error), store.writing(name) as folder:
            (folder / "half.txt").write_text("half")
            write_manifest(folder)
            raise error
    assert store.names() == ["step-1"] and read(store, "step-1") == {"a.txt": "before"}
    write(store, "step-2", {"a.txt": "after"})
    assert read(store, "step-2") == {"a.txt": "after"}


def test_a_disk_that_is_full_in_mid_writing_is_told_and_the_one_before_stays(store):
    write(store, "step-1", {"a.txt": "before"})
    says = r"can not be written; No space left on device; .* MB free; fix:"
    with pytest.raises(InfrastructureError, match=says), store.writing("step-1") as folder:
        (folder / "a.txt").write_text("half")
        failpoints._fill_disk()
    assert store.names() == ["step-1"] and read(store, "step-1") == {"a.txt": "before"}


# where a writing can be cut off while its files go into their place
CUTS = {
    "disk": ("checkpoint: flushed", "checkpoint: old one removed"),
    "memory": ("checkpoint: file sent", "checkpoint: file sent@2"),
}


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("is_there", [False, True])
def test_files_cut_off_on_their_way_leave_nothing_or_the_one_before_never_a_mixture(
    store, address, monkeypatch, number, is_there
):
    if is_there:
        write(store, "step-1", {"a.txt": "before", "sub/b.txt": "before", "c.txt": "before"})
    point = CUTS["disk" if isinstance(store, DiskStore) else "memory"][number]
    fail_at(monkeypatch, f"{point}=fill the disk")
    with pytest.raises(InfrastructureError, match="fix:"):
        write(store, "step-1", {"a.txt": "after", "sub/b.txt": "after"})
    for name in store.names():
        assert is_there and set(read(store, name).values()) == {"before"}
    write(store, "step-1", {"a.txt": "again"})
    assert store.names() == ["step-1"] and read(store, "step-1") == {"a.txt": "again"}
    assert [name for name in files_of(address) if name.startswith("step-1/")] == ["step-1/a.txt", f"step-1/{MANIFEST}"]


def test_a_wish_to_stop_that_comes_while_the_store_works_is_no_failure_of_the_store(store, monkeypatch):
    def stop(number, frame):
        raise StoppedError("stopped")

    monkeypatch.setattr(failpoints, "_ACTIONS", {"signal": lambda: signal.raise_signal(signal.SIGUSR1)})
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        fail_at(monkeypatch, "checkpoint: file sent=signal", "checkpoint: flushed=signal")
        with pytest.raises(StoppedError):
            write(store, "step-1")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert store.names() == []


def test_what_is_not_there_reads_as_an_empty_folder_or_none(store):
    with store.reading("step-1") as folder:
        assert not list(folder.glob("*"))
    assert store.read_text("run.json") is None


def test_a_folder_is_removed_and_the_others_stay(store, address):
    write(store, "step-1")
    write(store, "step-2")
    store.remove("step-1")
    assert store.names() == ["step-2"] and not [name for name in files_of(address) if "step-1" in name]


def test_all_there_is_is_removed_with_what_was_never_whole_and_nothing_beside_it(store, address):
    beside = open_store(address + "-beside")
    write(store, "step-1")
    write(beside, "step-1")
    store.write_text("run.json", "{}")
    files, root = raw(address)
    files.pipe_file(f"{root}/step-2/half.bin" if isinstance(store, ObjectStore) else f"{root}/half.bin", b"half")
    store.remove()
    assert store.names() == [] and files_of(address) == [] and store.read_text("run.json") is None
    assert beside.names() == ["step-1"]


def test_to_remove_what_is_not_there_is_no_error(store):
    store.remove("step-1")
    store.remove()
    store.remove_text("run.json")


def test_a_removal_that_is_broken_off_leaves_no_folder_that_looks_whole(store, address, monkeypatch):
    write(store, "step-1")
    write(store, "step-2")
    with cut_off_removal(store, monkeypatch):
        store.remove()
    assert files_of(address) and store.names() == []


@contextmanager
def cut_off_removal(store, monkeypatch):
    """Let a store remove no file that is not a manifest."""
    if isinstance(store, DiskStore):
        monkeypatch.setattr("shutil.rmtree", lambda *arguments, **options: None)
        yield
        return
    remove, memory = store._files.rm_file, type(store._files)

    def rm_file(self, path):
        if not path.endswith(MANIFEST):
            raise OSError("broken off")
        remove(path)

    monkeypatch.setattr(memory, "rm_file", rm_file)
    with pytest.raises(InfrastructureError, match="broken off"):
        yield


def test_text_is_read_replaced_and_removed(store):
    store.write_text("run.json", '{"run_id": "ação"}')
    assert store.read_text("run.json") == '{"run_id": "ação"}'
    store.write_text("run.json", "other")
    assert store.read_text("run.json") == "other" and store.names() == []
    store.remove_text("run.json")
    assert store.read_text("run.json") is None


def test_cleaning_leaves_what_is_whole_and_text_and_makes_nothing_whole(store, address):
    write(store, "step-1")
    store.write_text("run.json", "{}")
    files, root = raw(address)
    half = "step-2" if isinstance(store, ObjectStore) else "step-2.partial"
    files.makedirs(f"{root}/{half}", exist_ok=True)
    files.pipe_file(f"{root}/{half}/a.txt", b"half")
    files.pipe_file(f"{root}/run.json.partial", b"half")
    store.clean()
    assert store.names() == ["step-1"] and read(store, "step-1") and store.read_text("run.json") == "{}"
    if isinstance(store, DiskStore):
        assert not [name for name in files_of(address) if ".partial" in name]


def test_a_folder_beside_its_place_is_not_there_though_its_manifest_is(tmp_path):
    store = DiskStore(tmp_path)
    write(store, "step-1")
    (tmp_path / "step-1").rename(tmp_path / "step-1.partial")
    assert store.names() == []


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("nothing://bucket/prefix", r"nothing://bucket/prefix: no such storage; .*nothing.*; fix:"),
        ("s3://", r"s3://: names no bucket; fix: write it as s3://bucket/prefix"),
    ],
)
def test_an_unknown_protocol_or_no_bucket_is_told_with_a_fix(address, says):
    with pytest.raises(InfrastructureError, match=says):
        open_store(address)


def test_s3_without_its_packages_is_told_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(InfrastructureError, match=r"no such storage; .*fix: `pip install unroll\[s3\]`"):
        open_store("s3://bucket/prefix")


SHUT = [FileNotFoundError("The specified bucket does not exist"), PermissionError("Forbidden"), OSError(5, "reset")]


@pytest.mark.parametrize("error", SHUT, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("ask", ["names", "read", "read_text", "write", "remove"])
def test_a_bucket_that_is_missing_or_shut_is_told_and_never_taken_for_an_empty_one(monkeypatch, error, ask):
    """As s3fs tells it, which asks the server about everything: a server for this is in tests/cluster."""

    class Shut(fsspec.filesystem("memory").__class__):
        protocol, cachable = "shut", False

        def ls(self, path, detail=True, **options):
            raise error

        def find(self, path, **options):
            raise error

        cat_file = pipe_file = rm_file = info = find

    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "shut", Shut)
    store = ObjectStore("shut://bucket/prefix")
    asked = {
        "names": store.names,
        "read": lambda: read(store, "step-1"),
        "read_text": lambda: store.read_text("run.json"),
        "write": lambda: write(store, "step-1"),
        "remove": store.remove,
    }
    with pytest.raises(
        InfrastructureError, match=r"shut://bucket/prefix: the storage failed; .*fix: see the address, the bucket"
    ):
        asked[ask]()
