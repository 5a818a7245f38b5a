import json
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from pipeline import __main__ as command_line
from pipeline import doctor

ROOT = Path(__file__).resolve().parents[2]


def _interrupt():
    raise KeyboardInterrupt


def test_an_interrupted_command_ends_in_130_and_says_how_to_go_on(monkeypatch, capsys):
    monkeypatch.setattr(command_line, "set_environment", lambda: None)
    monkeypatch.setattr(doctor, "run", _interrupt)
    monkeypatch.setattr(sys, "argv", ["unroll", "doctor"])
    with pytest.raises(SystemExit) as end:
        command_line.main()
    assert end.value.code == 130 and "run it again to go on" in capsys.readouterr().err


def _call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["unroll", *arguments])
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as end:
        command_line.main()
    return end.value.code


def test_the_version_is_that_of_the_package(monkeypatch, capsys):
    assert _call(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"unroll {version('unroll')}\n"


def test_quiet_prints_results_all_the_same(monkeypatch, capsys):
    assert _call(monkeypatch, "-q", "params", "-p", "pos", "--json", "--set", "train.lr=0.5") == 0
    assert json.loads(capsys.readouterr().out)["pipelines"]["pos"]["train"]["lr"] == 0.5


def test_an_error_is_an_object_among_json_logs(monkeypatch, capsys):
    assert _call(monkeypatch, "--json-logs", "params", "-p", "pso") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["level"] == "error" and "use one of pos, topic" in json.loads(line)["message"]


@pytest.mark.parametrize(
    "options",
    [
        ["--fast-dev-run", "--dry-run"],
        ["--overfit-one-batch", "--fast-dev-run"],
        ["--fast-dev-run", "--limit", "3"],
        ["--dry-run", "--track"],
    ],
)
def test_ways_to_run_that_exclude_each_other_are_refused(monkeypatch, capsys, options):
    assert _call(monkeypatch, "run", "-p", "pos", *options) == 2
    assert "can not be had together" in capsys.readouterr().err


def test_more_and_less_words_are_not_asked_for_at_once(monkeypatch, capsys):
    assert _call(monkeypatch, "-q", "-v", "params") == 2
    assert "--verbose --quiet" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", ["fetch", "prepare", "encode", "train", "evaluate", "register", "run", "sweep", "summary", "params"]
)
def test_every_command_that_reads_params_takes_settings(monkeypatch, capsys, command):
    assert _call(monkeypatch, command, "-p", "pos", "--set", "train.lrr=1", "--set", "train.lr=x") == 2
    err = capsys.readouterr().err
    assert "--set train.lrr=1: " in err and "did you mean lr?" in err and "--set train.lr=x: " in err


def test_help_names_every_command_in_a_line_that_begins_with_it(monkeypatch, capsys):
    assert _call(monkeypatch, "--help") == 0
    out = capsys.readouterr().out
    assert all(f"│ {name} " in out for name in ("run", "params", "train", "predict")) and "--json-logs" in out
