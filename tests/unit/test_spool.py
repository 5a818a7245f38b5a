"""What runs log reaches a store once and in order, whatever the store does meanwhile and whoever is killed."""

import json
import signal
import subprocess
import sys
import time

import pytest

from pipeline.spool import Box, RefusedError, Spool


class Shelf:
    """A store that notes what it gets, and does not answer the next `failures` times.

    Args:
        refuses: says of an entry whether it will never be taken.
    """

    def __init__(self, failures=0, refuses=lambda entry: False):
        self.got, self.failures, self.refuses = [], failures, refuses

    def __call__(self, run, entries):
        if self.failures:
            self.failures -= 1
            raise ConnectionError("away")
        if any(map(self.refuses, entries)):
            raise RefusedError("never")
        self.got += [(run, entry["step"]) for entry in entries]
        return "an address" if run == "begun" else run


def point(step, **more):
    return {"metrics": {"loss": step / 10}, "step": step, **more}


def log(folder, shelf, steps, run="run", seconds=5.0):
    spool = Spool(folder, shelf)
    for step in steps:
        spool.add(run, point(step))
    whole = spool.wait(seconds)
    spool.close()
    return whole


def test_what_is_logged_arrives_in_order_and_leaves_nothing_behind(tmp_path):
    shelf = Shelf()
    assert log(tmp_path, shelf, range(500))
    assert shelf.got == [("run", step) for step in range(500)] and not list(tmp_path.iterdir())


def test_a_store_that_is_away_for_a_while_gets_all_of_it_later(tmp_path):
    shelf = Shelf(failures=3)
    assert log(tmp_path, shelf, range(9))
    assert shelf.got == [("run", step) for step in range(9)]


def test_logging_does_not_wait_for_a_slow_store(tmp_path):
    spool = Spool(tmp_path, lambda run, entries: time.sleep(0.5) or run)
    begun = time.monotonic()
    for step in range(100):
        spool.add("run", point(step))
    assert time.monotonic() - begun < 0.4
    assert spool.wait(5)
    spool.close()


def test_what_could_not_be_delivered_is_by_the_next_spool(tmp_path):
    assert not log(tmp_path, Shelf(failures=10**9), range(4), seconds=0.1)
    shelf = Shelf()
    assert log(tmp_path, shelf, [])
    assert shelf.got == [("run", step) for step in range(4)] and not list(tmp_path.iterdir())


def test_a_line_that_a_killed_process_left_half_written_spoils_nothing(tmp_path):
    log(tmp_path, Shelf(failures=10**9), [1, 2], seconds=0.1)
    with (tmp_path / "run.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"metrics": {"lo')
    shelf = Shelf()
    assert log(tmp_path, shelf, [3])
    assert shelf.got == [("run", 1), ("run", 2), ("run", 3)]


def test_a_run_whose_address_is_known_only_at_its_first_delivery_keeps_it(tmp_path):
    shelf = Shelf()
    spool = Spool(tmp_path, shelf)
    spool.add("begun", {"kind": "begin", "step": 0})
    assert spool.address("begun", 5) == "an address"
    spool.add("begun", point(1))
    assert spool.wait(5)
    shelf.failures = 10**9
    spool.add("begun", point(2))
    spool.close()
    later = Shelf()
    assert log(tmp_path, later, [])
    assert shelf.got == [("begun", 0), ("an address", 1)] and later.got == [("an address", 2)]


def test_what_the_store_refuses_is_set_aside_and_holds_nothing_up(tmp_path, caplog):
    shelf = Shelf(refuses=lambda entry: entry["step"] == 2)
    assert log(tmp_path, shelf, [1, 2, 3])
    assert shelf.got == [("run", 1), ("run", 3)]
    assert json.loads((tmp_path / "run.refused").read_text(encoding="utf-8")) == point(2)
    assert caplog.text.count("run run: never") == 1


def test_a_run_that_refuses_does_not_hold_up_another(tmp_path):
    delivered = []

    def deliver(run, entries):
        if run == "bad":
            raise ConnectionError
        delivered.extend(entries)
        return run

    spool = Spool(tmp_path, deliver)
    spool.add("bad", point(1))
    for step in range(3):
        spool.add("good", point(step))
    end = time.monotonic() + 5
    while len(delivered) < 3:
        assert time.monotonic() < end
        time.sleep(0.01)
    spool.close()


def test_a_file_that_another_has_is_left_to_it(tmp_path):
    box = Box(tmp_path / "run.jsonl")
    box.add(point(1))
    with pytest.raises(BlockingIOError):
        Box(tmp_path / "run.jsonl")
    shelf = Shelf()
    assert log(tmp_path, shelf, [1], run="other")
    assert shelf.got == [("other", 1)]
    box.close()


KILLED = """
import sys
from pathlib import Path
from pipeline.spool import Spool

def deliver(run, entries):
    with open(sys.argv[2], "a") as file:
        file.write("".join(f"{entry['step']}\\n" for entry in entries))
    return run

spool = Spool(Path(sys.argv[1]), deliver)
for step in range(int(sys.argv[3]), int(sys.argv[4])):
    spool.add("run", {"metrics": {"loss": 0.1}, "step": step})
    if step % 10 == 9:
        print(step, flush=True)
spool.wait(5)
spool.close()
"""


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_process_killed_after_a_delivery_and_before_noting_it_loses_nothing_and_keeps_the_order(tmp_path, monkeypatch, at):
    place = f"spool: delivered@{at}=kill"
    arguments = [sys.executable, "-c", KILLED, tmp_path / "spool", tmp_path / "got"]
    monkeypatch.setenv("UNROLL_FAILPOINTS", place)
    killed = subprocess.run([*arguments, "0", "400"], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    last = int((["-1", *killed.stdout.split()])[-1])
    monkeypatch.delenv("UNROLL_FAILPOINTS")
    subprocess.run([*arguments, "1000", "1010"], check=True, capture_output=True)
    got = [int(step) for step in (tmp_path / "got").read_text(encoding="utf-8").split()]
    first_times = list(dict.fromkeys(got))
    assert first_times == sorted(first_times) and first_times[-10:] == list(range(1000, 1010))
    assert set(range(last + 1)) <= set(got) and len(got) - len(first_times) <= 100, "twice at most what was delivered last"
