"""A prepared corpus cut to a few examples."""

import json

import polars as pl
import pytest

from pipeline.limit import keep_some


@pytest.fixture
def prepared(tmp_path):
    for split, number in (("train", 10), ("val", 2), ("test", 4)):
        frame = pl.DataFrame(
            {
                "id": [f"{split}-{i}" for i in range(number)],
                "tokens": [["a"] * (i + 1) for i in range(number)],
                "values": pl.Series([None] * number, dtype=pl.List(pl.List(pl.Float32))),
                "labels": [[str(i % 3)] for i in range(number)],
            }
        )
        frame.write_parquet(tmp_path / f"{split}.parquet")
    summary = {"skipped": {"all": 0}} | {
        name: {"examples": n, "steps": 0, "labels": 0} for name, n in zip(("train", "val", "test"), (10, 2, 4), strict=True)
    }
    (tmp_path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return tmp_path


def test_so_many_of_each_split_stay_from_its_first_to_its_last_in_order(prepared):
    keep_some(prepared, 4)
    assert pl.read_parquet(prepared / "train.parquet")["id"].to_list() == ["train-0", "train-3", "train-6", "train-9"]
    assert len(pl.read_parquet(prepared / "val.parquet")) == 2 and len(pl.read_parquet(prepared / "test.parquet")) == 4


def test_the_summary_says_what_stayed(prepared):
    keep_some(prepared, 4)
    summary = json.loads((prepared / "summary.json").read_text(encoding="utf-8"))
    assert summary["train"] == {"examples": 4, "steps": 1 + 4 + 7 + 10, "labels": 1} and summary["skipped"] == {"all": 0}


def test_what_stays_has_the_columns_it_had_and_leaves_no_other_file(prepared):
    keep_some(prepared, 1)
    assert pl.read_parquet(prepared / "train.parquet").columns == ["id", "tokens", "values", "labels"]
    assert sorted(path.name for path in prepared.iterdir()) == ["summary.json", "test.parquet", "train.parquet", "val.parquet"]
