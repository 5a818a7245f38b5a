"""A few mutated files of each format, and mutated archives; `make fuzz` reads many."""

import io
import random
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from pipeline.archives import unpack
from pipeline.errors import IntegrityError, ParamsError

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))

from mutation import SEEDS, mutate
from readers import run

MEMBERS = {"tiny/a.txt": b"abc " * 100, "tiny/b.txt": bytes(range(100))}


@pytest.mark.parametrize("name", SEEDS)
def test_a_mutated_file_is_parsed_or_a_data_error_that_names_its_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    found = run(name, 80, 0, tmp_path)
    assert found["OTHER"] == 0 and found["parsed"] > 0 and found["data error"] > 0


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_mutated_archive_is_unpacked_to_what_was_packed_or_refused(tmp_path, method):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, data in MEMBERS.items():
            archive.writestr(name, data)
    rng, found = random.Random(0), Counter()
    (tmp_path / "deep").mkdir()
    for number in range(600):
        path, out = tmp_path / "deep" / "tiny.whl", tmp_path / "deep" / str(number)
        path.write_bytes(mutate(content.getvalue(), rng))
        out.mkdir()
        try:
            unpack(path, tuple(MEMBERS), out)
            assert {f"tiny/{file.name}": file.read_bytes() for file in out.iterdir()} == MEMBERS
            found["unpacked"] += 1
        except (IntegrityError, ParamsError):
            assert all(MEMBERS[f"tiny/{file.name}"] == file.read_bytes() for file in out.iterdir())
            found["refused"] += 1
    assert [path.name for path in tmp_path.iterdir()] == ["deep"] and min(found["unpacked"], found["refused"]) > 10
