"""A few mutated files of each format; `make fuzz` reads many."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))

from mutation import SEEDS
from readers import run


@pytest.mark.parametrize("name", SEEDS)
def test_a_mutated_file_is_parsed_or_a_data_error_that_names_its_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    found = run(name, 80, 0, tmp_path)
    assert found["OTHER"] == 0 and found["parsed"] > 0 and found["data error"] > 0
