"""Files into files: the answers are those to all texts at once, wherever the input is cut and wherever a run breaks off."""

import dataclasses
import resource
from collections import Counter
from contextlib import contextmanager

import polars as pl
import pytest
from making import SMALL
from test_labeler import draw_texts, make_labeler

from pipeline import failpoints, files, inputs, rows
from pipeline.errors import DataError, InfrastructureError, IntegrityError, ParamsError
from pipeline.labeler import Labeler
from pipeline.outputs import text_lines

PIECE_BYTES = 1500
PLACES = [
    "predict: part written@1",
    "predict: part written@3",
    "predict: part noted@1",
    "predict: part noted@3",
    "predict: joined",
    "predict: whole noted",
    "predict: renamed",
]
OUTS = ("out.tags", "out.parquet")


def make_model(folder, task="tagging", model=SMALL):
    """Save a drawn network; gives its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    make_labeler(folder, task, model)
    return folder / "model"


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("tagger"))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    model = dataclasses.replace(SMALL, heads={"mood": 1.0})
    return make_model(tmp_path_factory.mktemp("classifier"), "classification", model)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    for module in (inputs, rows, files):
        monkeypatch.setattr(module, "PIECE_BYTES", PIECE_BYTES)
    monkeypatch.setattr(rows, "_ROWS_AT_ONCE", 4)


def run(source, out, model, **options):
    options = {"engine": "auto", "input_format": None, "num_workers": 1} | options
    files.run(source, out, str(model), **options)


def write_texts(folder, texts=None, name="in.txt"):
    path = folder / name
    path.write_text("".join(f"{text}\n" for text in (draw_texts(40, 200) if texts is None else texts)), encoding="utf-8")
    return path


def write_rows(folder, **columns):
    path = folder / "in.parquet"
    pl.DataFrame(columns).write_parquet(path)
    return path


def text_form(texts, answers):
    return "".join(line for text, answer in zip(texts, answers, strict=True) for line in text_lines(text, answer))


@contextmanager
def file_limit(num_bytes):
    """Let no file of this process grow beyond a size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def break_off(path, out, model, monkeypatch, place="predict: part noted@3"):
    """Let the disk be full at a place."""
    monkeypatch.setattr(failpoints, "_passed", Counter())
    monkeypatch.setenv("UNROLL_FAILPOINTS", f"{place}=fill the disk")
    with pytest.raises(InfrastructureError, match=r"out\.\w+: can not be written; No space left.*MB free; fix:"):
        run(path, out, model)
    monkeypatch.delenv("UNROLL_FAILPOINTS")


def test_a_tagger_writes_what_it_says_of_all_texts_at_once(tmp_path, tagger):
    texts = draw_texts(40, 200)
    run(write_texts(tmp_path, texts), tmp_path / "out.tags", tagger)
    assert (tmp_path / "out.tags").read_text() == text_form(texts, Labeler.load(tagger).label_texts(texts))


def test_a_classifier_writes_what_it_says_of_all_texts_at_once(tmp_path, classifier):
    texts = draw_texts(40, 200)
    run(write_texts(tmp_path, texts), tmp_path / "out.tsv", classifier)
    assert (tmp_path / "out.tsv").read_text() == text_form(texts, Labeler.load(classifier).label_texts(texts))


def test_lines_without_text_are_passed_over(tmp_path, tagger):
    run(write_texts(tmp_path, ["", "um dois", " ", "três"]), tmp_path / "with", tagger)
    run(write_texts(tmp_path, ["um dois", "três"]), tmp_path / "without", tagger)
    assert (tmp_path / "with").read_text() == (tmp_path / "without").read_text() != ""


def test_an_empty_file_gives_an_empty_one(tmp_path, tagger):
    run(write_texts(tmp_path, []), tmp_path / "out.tags", tagger)
    assert (tmp_path / "out.tags").read_bytes() == b""


def test_a_byte_order_mark_is_no_text(tmp_path, tagger):
    run(write_texts(tmp_path, ["\ufeffum dois"]), tmp_path / "with", tagger)
    run(write_texts(tmp_path, ["um dois"]), tmp_path / "without", tagger)
    assert (tmp_path / "with").read_text() == (tmp_path / "without").read_text()


@pytest.mark.parametrize("out", OUTS)
@pytest.mark.parametrize("place", PLACES)
def test_a_run_that_broke_off_anywhere_goes_on_to_the_same_bytes(tmp_path, tagger, monkeypatch, place, out):
    path = write_texts(tmp_path)
    run(path, tmp_path / f"unbroken-{out}", tagger)
    break_off(path, tmp_path / out, tagger, monkeypatch, place)
    run(path, tmp_path / out, tagger)
    assert (tmp_path / out).read_bytes() == (tmp_path / f"unbroken-{out}").read_bytes()
    assert not (tmp_path / f"{out}.partial").exists()


@pytest.mark.parametrize("out", OUTS)
def test_a_run_goes_on_where_the_last_whole_part_ends(tmp_path, tagger, monkeypatch, out):
    path = write_texts(tmp_path)
    run(path, tmp_path / f"unbroken-{out}", tagger)
    break_off(path, tmp_path / out, tagger, monkeypatch, "predict: part noted@4")
    seen = []
    label = files.label_each
    monkeypatch.setattr(files, "label_each", lambda jobs, number: (seen.append(each) or each for each in label(jobs, number)))
    run(path, tmp_path / out, tagger)
    assert seen[0][1].piece.start.number > 4
    assert (tmp_path / out).read_bytes() == (tmp_path / f"unbroken-{out}").read_bytes()


@pytest.mark.parametrize("out", OUTS)
def test_a_disk_that_is_full_leaves_the_old_output_whole_and_the_run_goes_on(tmp_path, tagger, out):
    path = write_texts(tmp_path)
    run(path, tmp_path / f"unbroken-{out}", tagger)
    (tmp_path / out).write_text("old")
    with file_limit(3000), pytest.raises(InfrastructureError, match=r"out\.\w+: can not be written; .*too large.*MB free; fix:"):
        run(path, tmp_path / out, tagger)
    assert (tmp_path / out).read_text() == "old"
    assert all(path.stat().st_size < 3000 for path in (tmp_path / f"{out}.partial").iterdir())
    run(path, tmp_path / out, tagger)
    assert (tmp_path / out).read_bytes() == (tmp_path / f"unbroken-{out}").read_bytes()


def test_a_disk_that_is_full_when_parts_are_joined_leaves_them_and_the_run_goes_on(tmp_path, tagger, monkeypatch):
    path, out = write_texts(tmp_path), tmp_path / "out.parquet"
    run(path, tmp_path / "unbroken.parquet", tagger)
    break_off(path, out, tagger, monkeypatch, "predict: joined")
    sizes = [part.stat().st_size for part in (tmp_path / "out.parquet.partial").glob("*.parquet")]
    with file_limit(max(sizes)), pytest.raises(InfrastructureError, match=r"out\.parquet: can not be written; .*too large.*fix:"):
        run(path, out, tagger)
    run(path, out, tagger)
    assert out.read_bytes() == (tmp_path / "unbroken.parquet").read_bytes()


@pytest.mark.parametrize("out", OUTS)
def test_another_input_begins_anew_and_says_so(tmp_path, tagger, monkeypatch, caplog, out):
    path = write_texts(tmp_path)
    break_off(path, tmp_path / out, tagger, monkeypatch)
    path = write_texts(tmp_path, draw_texts(30, 100))
    run(path, tmp_path / out, tagger)
    assert f"{out}: begins anew: not the same input's size, input's time as in the run before" in caplog.text
    run(path, tmp_path / f"unbroken-{out}", tagger)
    assert (tmp_path / out).read_bytes() == (tmp_path / f"unbroken-{out}").read_bytes()


def test_another_model_begins_anew_and_says_so(tmp_path, tagger, monkeypatch, caplog):
    path, out = write_texts(tmp_path), tmp_path / "out.tags"
    other = make_model(tmp_path / "other", model=dataclasses.replace(SMALL, hidden=(6,)))
    break_off(path, out, tagger, monkeypatch)
    run(path, out, other)
    assert "out.tags: begins anew: not the same model as in the run before" in caplog.text
    run(path, tmp_path / "unbroken", other)
    assert out.read_bytes() == (tmp_path / "unbroken").read_bytes()


@pytest.mark.parametrize("out", OUTS)
def test_a_run_after_one_of_another_model_that_broke_off_has_none_of_its_answers(tmp_path, tagger, monkeypatch, out):
    path = write_texts(tmp_path)
    run(path, tmp_path / f"unbroken-{out}", tagger)
    other = make_model(tmp_path / "other", model=dataclasses.replace(SMALL, hidden=(6,)))
    break_off(path, tmp_path / out, tagger, monkeypatch, "predict: part noted@1")
    break_off(path, tmp_path / out, other, monkeypatch, "predict: part written@1")
    run(path, tmp_path / out, tagger)
    assert (tmp_path / out).read_bytes() == (tmp_path / f"unbroken-{out}").read_bytes()


def test_a_part_that_is_gone_begins_anew_and_says_so(tmp_path, tagger, monkeypatch, caplog):
    path, out = write_texts(tmp_path), tmp_path / "out.parquet"
    break_off(path, out, tagger, monkeypatch)
    (tmp_path / "out.parquet.partial" / "000001.parquet").unlink()
    run(path, out, tagger)
    assert "begins anew: what was written is gone" in caplog.text
    assert pl.read_parquet(out)["text"].to_list() == path.read_text().splitlines()


def test_a_second_process_does_not_write_the_same_output(tmp_path, tagger):
    path, out = write_texts(tmp_path), tmp_path / "out.tags"
    (shard,) = [files.Shard(path, out, tmp_path / "out.tags.partial", files.Task(tagger, "auto", "text", "text"))]
    output = shard.open()
    with pytest.raises(InfrastructureError, match="another process writes it"):
        run(path, out, tagger)
    output.close()


def test_an_interrupted_run_keeps_what_is_done(tmp_path, tagger, monkeypatch):
    path, out = write_texts(tmp_path), tmp_path / "out.tags"
    run(path, tmp_path / "unbroken", tagger)
    parts, add = [], files.Output.add

    def add_three(self, *arguments):
        if len(parts) == 3:
            raise KeyboardInterrupt
        parts.append(arguments)
        add(self, *arguments)

    monkeypatch.setattr(files.Output, "add", add_three)
    with pytest.raises(KeyboardInterrupt):
        run(path, out, tagger)
    monkeypatch.undo()
    assert (tmp_path / "out.tags.partial" / "answers").read_bytes() == b"".join(data for data, _ in parts)
    run(path, out, tagger)
    assert out.read_bytes() == (tmp_path / "unbroken").read_bytes()


def test_texts_become_rows_with_words_labels_and_probabilities(tmp_path, tagger):
    texts = draw_texts(40, 200)
    run(write_texts(tmp_path, texts), tmp_path / "out.parquet", tagger)
    answers = Labeler.load(tagger).label_texts(texts)
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert table.columns == ["text", "words", "labels", "probabilities"]
    assert table["labels"].to_list() == [answer["labels"] for answer in answers]
    assert table["words"].to_list() == [answer["words"] for answer in answers]
    for row, answer in zip(table["probabilities"], answers, strict=True):
        assert row.to_list() == pytest.approx(answer["probabilities"], abs=1e-5)


def test_the_columns_of_a_table_are_kept_and_rows_without_text_have_no_answer(tmp_path, classifier):
    texts = [None, *draw_texts(40, 200), " "]
    path = write_rows(tmp_path, id=range(len(texts)), text=texts)
    run(path, tmp_path / "out.parquet", classifier)
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert table.select("id", "text").equals(pl.read_parquet(path))
    answers = [None, *Labeler.load(classifier).label_texts(texts[1:-1]), None]
    for column in ("label", "mood"):
        assert table[column].to_list() == [answer and answer[column] for answer in answers]


def test_tokens_of_a_table_are_labelled_as_they_are(tmp_path, tagger):
    tokens = [["um", "num"], [], ["dois mil", "três", "."]] * 10
    run(write_rows(tmp_path, tokens=tokens), tmp_path / "out.parquet", tagger)
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert table["words"].to_list() == tokens
    assert table["labels"].to_list() == [answer.labels for answer in Labeler.load(tagger).label_tokens(tokens)]


def test_further_targets_of_tokens_are_those_of_texts(tmp_path):
    model = make_model(tmp_path / "model", model=dataclasses.replace(SMALL, heads={"tag": 1.0, "mood": 1.0}))
    texts = ["um", "dois , três", "dois"]
    run(write_texts(tmp_path, texts), tmp_path / "texts.parquet", model)
    run(write_rows(tmp_path, tokens=[text.split() for text in texts]), tmp_path / "tokens.parquet", model)
    columns = ["words", "labels", "tag", "mood"]
    ours, theirs = (pl.read_parquet(tmp_path / f"{name}.parquet", columns=columns) for name in ("tokens", "texts"))
    assert ours.equals(theirs) and ours.schema["mood"] == pl.String and ours.schema["tag"] == pl.List(pl.String)


def test_a_column_that_the_model_reads_is_given_with_the_tokens(tmp_path):
    model = make_model(tmp_path / "model", model=dataclasses.replace(SMALL, features={"tag": 3}))
    tokens, tags = [["um", "dois"], ["três"]], [["s", "t"], ["t"]]
    run(write_rows(tmp_path, tokens=tokens, tag=tags), tmp_path / "out.parquet", model)
    answers = Labeler.load(model).label_tokens(tokens, [{"tag": row} for row in tags])
    assert pl.read_parquet(tmp_path / "out.parquet")["labels"].to_list() == [answer.labels for answer in answers]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"label": ["a"]}, r"in\.parquet:1:1: has neither tokens"),
        ({"text": [1]}, r"in\.parquet:1:1: has text as Int64, not String"),
        ({"tokens": [["um"], [None]]}, r"in\.parquet:2:1: has not a string in tokens"),
        ({"text": ["um"], "labels": [1]}, r"in\.parquet:1:1: has columns \['labels'\], as the answers will"),
        ({"text": ["um", "x" * 200_001]}, r"in\.parquet:2:1: holds 200,001 characters"),
    ],
)
def test_a_table_that_can_not_be_labelled_is_named(tmp_path, tagger, columns, says):
    with pytest.raises(DataError, match=says):
        run(write_rows(tmp_path, **columns), tmp_path / "out.parquet", tagger)


def test_what_is_no_parquet_is_named(tmp_path, tagger):
    with pytest.raises(DataError, match=r"in\.parquet:1:1: can not be read as parquet"):
        run(write_texts(tmp_path, name="in.parquet"), tmp_path / "out.parquet", tagger)


def test_a_text_too_long_to_be_read_at_once_is_named(tmp_path, tagger, monkeypatch):
    for module in (inputs, files):
        monkeypatch.setattr(module, "PIECE_BYTES", 1 << 20)
    with pytest.raises(DataError, match=r"in\.txt:3:1: holds 200,001 characters"):
        run(write_texts(tmp_path, ["um", "dois", "x" * 200_001]), tmp_path / "out.tags", tagger)


def test_a_line_longer_than_a_piece_is_named_and_what_stands_before_it_is_kept(tmp_path, tagger):
    with pytest.raises(DataError, match=r"in\.txt:3:1: begins what does not end within 1,500 bytes"):
        run(write_texts(tmp_path, ["um", "dois", "x" * PIECE_BYTES, "um"]), tmp_path / "out.tags", tagger)
    assert "dois" in (tmp_path / "out.tags.partial" / "answers").read_text()


def test_the_line_that_a_model_can_not_read_is_named(tmp_path):
    model = make_model(tmp_path / "model", model=dataclasses.replace(SMALL, features={"tag": 3}))
    with pytest.raises(DataError, match=r"in\.txt:3:1: is no JSON object"):
        run(write_texts(tmp_path, ['{"tokens": ["um"], "tag": ["s"]}', "", "dois"]), tmp_path / "out.tags", model)


@pytest.mark.parametrize(
    ("source", "out", "says"),
    [
        ("gone.txt", "out.tags", r"gone\.txt:1:1: can not be read; No such file"),
        ("in.txt", "in.txt", "is the input"),
        ("in.txt", "out.conllu", "comes of CoNLL-U alone"),
        ("in.txt", "empty", "is a folder"),
        ("empty", "out", "has no files"),
        ("empty", "empty", "is the input"),
    ],
)
def test_what_can_not_be_asked_is_told_before_anything_is_written(tmp_path, tagger, source, out, says):
    write_texts(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ParamsError, match=says):
        run(tmp_path / source, tmp_path / out, tagger)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "in.txt"]


def test_a_model_that_was_altered_is_not_used(tmp_path):
    model = make_model(tmp_path / "model")
    (model / "vocab.json").write_text("{}")
    with pytest.raises(IntegrityError, match=r"vocab\.json.*is not what was written"):
        run(write_texts(tmp_path), tmp_path / "out.tags", model)


@pytest.fixture
def folder(tmp_path):
    """Three shards."""
    shards = tmp_path / "shards"
    shards.mkdir()
    for number, name in enumerate(("a.txt", "b.txt", "c.txt"), start=1):
        write_texts(shards, draw_texts(10 * number, 100), name)
    return shards


def test_each_file_of_a_folder_is_labelled_into_one_of_its_name(tmp_path, tagger, folder):
    run(folder, tmp_path / "out", tagger)
    for path in folder.iterdir():
        run(path, tmp_path / "alone.tags", tagger)
        assert (tmp_path / "out" / path.name).read_bytes() == (tmp_path / "alone.tags").read_bytes()


def test_a_shard_that_is_finished_is_passed_over_and_a_changed_one_is_not(tmp_path, tagger, folder):
    run(folder, tmp_path / "out", tagger)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.txt")}
    write_texts(folder, ["um"], "b.txt")
    run(folder, tmp_path / "out", tagger)
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.txt")}
    assert [name for name in before if before[name] != after[name]] == ["b.txt"]


def test_a_folder_goes_on_in_the_shard_where_it_broke_off(tmp_path, tagger, folder, monkeypatch):
    run(folder, tmp_path / "unbroken", tagger)
    monkeypatch.setattr(failpoints, "_passed", Counter())
    monkeypatch.setenv("UNROLL_FAILPOINTS", "predict: joined@2=fill the disk")
    with pytest.raises(InfrastructureError):
        run(folder, tmp_path / "out", tagger)
    assert [path.name for path in (tmp_path / "out").glob("*.txt")] == ["a.txt"]
    run(folder, tmp_path / "out", tagger)
    for path in (tmp_path / "unbroken").glob("*.txt"):
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
