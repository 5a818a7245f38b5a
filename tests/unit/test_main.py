import sys

import pytest

from pipeline import __main__ as command_line
from pipeline import doctor


def _interrupt():
    raise KeyboardInterrupt


def test_an_interrupted_command_ends_in_130_and_says_how_to_go_on(monkeypatch, capsys):
    monkeypatch.setattr(command_line, "set_environment", lambda: None)
    monkeypatch.setattr(doctor, "run", _interrupt)
    monkeypatch.setattr(sys, "argv", ["unroll", "doctor"])
    with pytest.raises(SystemExit) as end:
        command_line.main()
    assert end.value.code == 130 and "run it again to go on" in capsys.readouterr().err
