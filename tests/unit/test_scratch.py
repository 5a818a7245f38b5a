"""A pipeline's scratch folder: which raw files it takes, and that it never writes into those of data/."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.params import load_config
from pipeline.scratch import Work, clear_raw, find_raw, link_raw, note_raw

ROOT = Path(__file__).resolve().parents[2]


def _work(*settings):
    config, catalogue = load_config(ROOT / "params.yaml", ROOT / "corpora.yaml", settings, "pos")
    return Work.of("pos", config.pipelines["pos"], config.scaling, catalogue)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose raw files are those that its dvc.lock speaks of."""
    monkeypatch.chdir(tmp_path)
    raw = Path("data/pos/raw")
    raw.mkdir(parents=True)
    (raw / "annotated.conllu").write_text("as fetched", encoding="utf-8")
    source = YAML(typ="safe").load(ROOT / "corpora.yaml")["corpora"]["ud-portuguese-porttinari"]["source"]
    params = {"pipelines.pos.corpus": "ud-portuguese-porttinari", "pipelines.pos.vectors": None}
    locked = {"params.yaml": params, "corpora.yaml": {"corpora.ud-portuguese-porttinari": {"source": source}, "vectors": {}}}
    YAML().dump({"stages": {"fetch@pos": {"params": locked}}}, Path("dvc.lock"))
    return tmp_path


def test_what_dvc_fetched_from_the_same_source_is_taken(project):
    assert find_raw(_work()) == Path("data/pos/raw")


def test_what_dvc_fetched_of_another_corpus_is_not_taken_though_its_files_have_the_same_names(project):
    assert find_raw(_work("corpus=ud-portuguese-petrogold")) is None


def test_without_a_lock_nothing_tells_what_the_raw_files_are_so_they_are_not_taken(project):
    (project / "dvc.lock").unlink()
    assert find_raw(_work()) is None


def test_making_room_for_other_files_takes_away_the_link_and_not_what_it_leads_to(project):
    work = _work()
    link_raw(Path("data/pos/raw"), work)
    assert (work.layout.raw_dir / "annotated.conllu").read_text(encoding="utf-8") == "as fetched"
    clear_raw(work)
    assert not work.layout.raw_dir.exists() and Path("data/pos/raw/annotated.conllu").is_file()


def test_the_scratch_folders_own_files_are_taken_again_for_the_same_source_alone(project):
    (project / "dvc.lock").unlink()
    work = _work()
    clear_raw(work)
    work.layout.raw_dir.mkdir()
    (work.layout.raw_dir / "annotated.conllu").touch()
    assert find_raw(work) is None
    note_raw(work)
    assert find_raw(work) == work.layout.raw_dir and find_raw(_work("corpus=ud-portuguese-petrogold")) is None
