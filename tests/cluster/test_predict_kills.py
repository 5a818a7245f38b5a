"""`unroll predict --out` killed at every part, by a person, and by the loss of workers; then run again."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest
from project import ROOT
from test_files import OUTS, PLACES, make_model, write_texts

SCRIPT = """
import sys
from pathlib import Path
from pipeline import files, inputs, rows
for module in (inputs, rows, files):
    module.PIECE_BYTES = 1500
source, out, model, workers = sys.argv[1:]
if __name__ == "__main__":
    files.run(Path(source), Path(out), model, engine="auto", input_format=None, num_workers=int(workers))
"""
"""The command, whose pieces are so small that a small input has several."""


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("tagger"))


@pytest.fixture(scope="module", params=OUTS)
def unbroken(request, tagger, tmp_path_factory):
    """An input, the name of an output, and what an unbroken run writes into it."""
    folder = tmp_path_factory.mktemp("unbroken")
    path = write_texts(folder)
    finish(start(folder, path, folder / request.param, tagger))
    return path, request.param, (folder / request.param).read_bytes()


def start(folder, path, out, model, workers=1, **environment):
    script = folder / "script.py"
    script.write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, str(script), path, out, model, str(workers)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process):
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return err


@pytest.mark.parametrize("place", PLACES)
def test_a_run_after_one_killed_ends_with_the_bytes_of_one_unbroken(unbroken, tagger, tmp_path, place):
    path, name, expected = unbroken
    killed = start(tmp_path, path, tmp_path / name, tagger, UNROLL_FAILPOINTS=f"{place}=kill")
    assert killed.wait(120) == -signal.SIGKILL
    killed.communicate()
    err = finish(start(tmp_path, path, tmp_path / name, tagger))
    assert "begins anew" not in err
    assert (tmp_path / name).read_bytes() == expected
    assert sorted(each.name for each in tmp_path.iterdir()) == [name, "script.py"]


def children_of(process):
    return psutil.Process(process.pid).children(recursive=True)


def wait_for_parts(process, folder):
    """Wait until the first part is noted, and stop the run there."""
    deadline = time.monotonic() + 120
    while not any(folder.glob("*/state.json")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)


def test_workers_end_with_the_run_that_was_killed(unbroken, tagger, tmp_path):
    path, name, expected = unbroken
    run = start(tmp_path, path, tmp_path / name, tagger, 2, UNROLL_FAILPOINTS="predict: part noted@1=stop")
    wait_for_parts(run, tmp_path)
    workers = children_of(run)
    assert len(workers) >= 2
    run.kill()
    run.communicate()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive
    finish(start(tmp_path, path, tmp_path / name, tagger, 2))
    assert (tmp_path / name).read_bytes() == expected


def test_ctrl_c_ends_a_run_soon_and_it_goes_on(unbroken, tagger, tmp_path):
    path, name, expected = unbroken
    run = start(tmp_path, path, tmp_path / name, tagger, 2, UNROLL_FAILPOINTS="predict: part noted@1=stop")
    wait_for_parts(run, tmp_path)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: all of them
    os.kill(run.pid, signal.SIGCONT)
    _, err = run.communicate(timeout=20)
    assert run.returncode != 0 and err.count("KeyboardInterrupt") == 1
    finish(start(tmp_path, path, tmp_path / name, tagger, 2))
    assert (tmp_path / name).read_bytes() == expected


def test_a_worker_that_is_killed_ends_the_run_with_a_remedy_and_it_goes_on(unbroken, tagger, tmp_path):
    path, name, expected = unbroken
    run = start(tmp_path, path, tmp_path / name, tagger, 2, UNROLL_FAILPOINTS="predict: part noted@1=stop")
    wait_for_parts(run, tmp_path)
    for worker in children_of(run):
        with suppress(psutil.NoSuchProcess):
            worker.kill()
    os.kill(run.pid, signal.SIGCONT)
    _, err = run.communicate(timeout=60)
    assert "InfrastructureError" in err and "a process that labels it was killed" in err
    finish(start(tmp_path, path, tmp_path / name, tagger, 2))
    assert (tmp_path / name).read_bytes() == expected


def test_several_workers_write_what_one_does(unbroken, tagger, tmp_path):
    path, name, expected = unbroken
    finish(start(tmp_path, path, tmp_path / name, tagger, 2))
    assert (tmp_path / name).read_bytes() == expected


def test_an_error_of_a_worker_names_its_line(tagger, tmp_path):
    path = write_texts(tmp_path)
    path.write_bytes(path.read_bytes() + b"\xff\n")
    _, err = start(tmp_path, path, tmp_path / "out.tags", tagger, 2).communicate(timeout=120)
    assert "DataError" in err and "in.txt:41:1: holds the byte 0xff" in err
