"""A model at work: an answer depends on its own text alone, and a folder that was touched is not loaded."""

import dataclasses
from dataclasses import asdict

import numpy as np
import pytest
from making import SMALL

from models.config import ModelConfig, Sizes, Target
from models.network import build_network
from pipeline.checkpoint import save_checkpoint
from pipeline.errors import DataError, IntegrityError
from pipeline.labeler import Labeler
from pipeline.trained import Trained
from pipeline.vocab import CAPITALISATIONS, RESERVED, Vocab

WORDS = ("um", "dois", "três", "Quatro", ",", "cinco-seis", "não")
VOCAB = Vocab(
    words=(*RESERVED, "um", "dois", "três"),
    chars=(*RESERVED, *"umdoistrêQacn"),
    labels=("A", "B", "C"),
    lowercase=True,
    max_word_length=30,
    contractions={"num": ["em", "um"]},
    columns={"tag": [*RESERVED, "s", "t"], "mood": [*RESERVED, "glad", "sad"]},
)


def make_labeler(folder, task="tagging", model: ModelConfig = SMALL, engine="auto", **options) -> Labeler:
    """Save a drawn network as the stage train does, and load it as what labels."""
    make_trained(folder, task, model, **options)
    return Labeler.load(folder / "model", engine)


def make_trained(folder, task="tagging", model=SMALL, max_length=None, truncating=None, vector_size=0) -> Trained:
    """Save a drawn network as the stage train does, and load it."""
    features = {"capitalisation": len(CAPITALISATIONS), "tag": 4}
    targets = {"tag": Target("tagging", 2), "mood": Target("classification", 2)}
    sizes = Sizes(task, len(VOCAB.words), len(VOCAB.chars), len(VOCAB.labels), vector_size, 0, features, targets)
    if vector_size:
        model = dataclasses.replace(model, char_hidden=None, char_size=None)
    VOCAB.save(folder / "vocab.json")
    meta = {"model": asdict(model), "sizes": asdict(sizes), "max_length": max_length, "truncating": truncating}
    network = build_network(model, sizes, seed=1)
    save_checkpoint(folder / "model", network.state_dict(), meta, folder / "vocab.json")
    return Trained.load(folder / "model")


def draw_texts(number=60, longest=500):
    rng = np.random.default_rng(3)
    return [" ".join(rng.choice(WORDS, length)) for length in [1, longest, *rng.integers(1, 80, number - 2)]]


ENGINES = ["torch", "onnx", "int8"]


def test_int8_is_for_lstms_alone(tmp_path):
    with pytest.raises(ValueError, match="int8"):
        make_labeler(tmp_path, "tagging", dataclasses.replace(SMALL, cell="gru"), engine="int8")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("task", "options"),
    [
        ("tagging", {}),
        ("tagging", {"bidirectional": False}),
        ("tagging", {"crf": True}),
        ("classification", {"pooling": "final"}),
        ("classification", {"pooling": "max", "char_encoder": "cnn"}),
        ("classification", {"pooling": "mean", "features": {"capitalisation": 3}}),
        ("classification", {"pooling": "attention"}),
    ],
    ids=str,
)
def test_an_answer_does_not_depend_on_what_else_is_asked(tmp_path, task, options, engine):
    labeler, texts = make_labeler(tmp_path, task, dataclasses.replace(SMALL, **options), engine=engine), draw_texts()
    together = labeler.label_texts(texts)
    order = np.random.default_rng(4).permutation(len(texts))
    mixed = labeler.label_texts([texts[i] for i in order])
    key = "probabilities" if task == "tagging" else "probability"
    for place, i in enumerate(order):
        (alone,) = labeler.label_texts([texts[i]])
        for other in (together[i], mixed[place]):
            assert {**alone, key: None} == {**other, key: None}
            np.testing.assert_allclose(alone[key], other[key], atol=1e-6)


@pytest.mark.parametrize(("engine", "atol"), [("auto", 1e-6), ("onnx", 1e-6), ("int8", 0.01)])
@pytest.mark.parametrize("options", [{}, {"crf": True, "heads": {"tag": 1.0, "mood": 1.0}}, {"char_encoder": "cnn"}], ids=str)
def test_engines_agree(tmp_path, options, engine, atol):
    model, texts = dataclasses.replace(SMALL, **options), ["", "num", *draw_texts(), " "]
    theirs, ours = (make_labeler(tmp_path, model=model, engine=name).label_texts(texts) for name in ("torch", engine))
    for one, other in zip(theirs, ours, strict=True):
        assert set(one) == set(other) and one["words"] == other["words"] and len(one["labels"]) == len(other["labels"])
        is_near = np.abs(np.subtract(one["probabilities"], other["probabilities"])) <= atol
        if engine == "int8":
            assert is_near.mean() > 0.9 if len(is_near) else True  # where labels differ, they were about as likely
        else:
            assert is_near.all() and {**one, "probabilities": 0} == {**other, "probabilities": 0}


def test_auto_is_onnxruntime_and_torch_where_it_can_not_be(tmp_path, monkeypatch):
    assert make_labeler(tmp_path).engine.name == "onnx"
    monkeypatch.setattr("models.onnx.OPERATORS", {})
    assert make_labeler(tmp_path).engine.name == "torch"
    with pytest.raises(ValueError, match="no operator for LSTMCell"):
        make_labeler(tmp_path, engine="onnx")


def test_a_form_that_was_met_before_is_answered_as_it_was(tmp_path, monkeypatch):
    labeler = make_labeler(tmp_path)
    first = labeler.label_texts(["um dois", "não dois"])
    monkeypatch.setattr("pipeline.engines._MOST_FORMS", 3)
    for text in ("três cinco-seis", "Quatro um", "um dois"):
        last = labeler.label_texts([text])
    assert last == first[:1]


def test_a_tagger_gives_a_label_for_each_word_in_its_place(tmp_path):
    (answer,) = make_labeler(tmp_path).label_texts(["Um, dois-três não!"])
    assert answer["words"] == ["Um", ",", "dois-três", "não", "!"]
    assert len(answer["labels"]) == len(answer["probabilities"]) == 5


def test_a_contraction_is_read_as_its_words_and_stays_one_in_the_answer(tmp_path):
    labeler = make_labeler(tmp_path)
    (apart,), (together,) = labeler.label_texts(["dois em um ."]), labeler.label_texts(["dois num ."])
    first, preposition, article, last = apart["labels"]
    assert together["words"] == ["dois", "num", "."]
    assert together["labels"] == [first, f"{preposition}+{article}", last]
    assert together["probabilities"][1] == pytest.approx(apart["probabilities"][1] * apart["probabilities"][2])


def test_texts_without_words_are_tagged_with_nothing_and_leave_the_others_as_they_are(tmp_path):
    labeler = make_labeler(tmp_path)
    empty, full = labeler.label_texts(["  ", "um dois"])
    assert empty == {"words": [], "labels": [], "probabilities": []}
    assert full["labels"] == labeler.label_texts(["um dois"])[0]["labels"]


def test_a_text_without_words_can_not_be_classified(tmp_path):
    with pytest.raises(DataError, match="text 2 has no words"):
        make_labeler(tmp_path, "classification").label_texts(["um", " "])


@pytest.mark.parametrize(("truncating", "kept"), [(None, "um dois"), ("post", "um dois"), ("pre", "três não")])
def test_a_text_that_is_too_long_is_answered_as_the_shortened_one(tmp_path, truncating, kept):
    labeler = make_labeler(tmp_path, "classification", max_length=2, truncating=truncating)
    whole, short, longer = labeler.label_texts(["um dois três não", kept, f"{kept} um" if truncating != "pre" else f"um {kept}"])
    assert whole == short == longer != labeler.label_texts(["cinco-seis"])[0]


def test_a_model_folder_that_was_altered_is_not_loaded(tmp_path):
    make_labeler(tmp_path)
    path = tmp_path / "model" / "vocab.json"
    path.write_text(path.read_text().replace("dois", "mais"))
    with pytest.raises(IntegrityError, match=r"vocab\.json.*is not what was written"):
        Labeler.load(tmp_path / "model")


@pytest.mark.parametrize("method", ["label_words", "label_tokens"])
def test_words_are_refused_by_a_network_that_reads_numbers(tmp_path, method):
    labeler = make_labeler(tmp_path, "classification", vector_size=2)
    with pytest.raises(DataError, match="the model reads numbers"):
        getattr(labeler, method)([["Ela", "canta"]])


def test_numeric_sequences_come_as_json(tmp_path):
    labeler = make_labeler(tmp_path, "classification", vector_size=2)
    texts = ["[[1, 2], [3, 4.5]]", "[[0, -1]]"]
    assert [answer["label"] for answer in labeler.label_texts(texts)] == [
        answer.labels[0] for answer in labeler.label_values([[[1, 2], [3, 4.5]], [[0, -1]]])
    ]


@pytest.mark.parametrize("text", ["words", "[]", "[[1, 2], [3]]", "[[1, 2, 3]]", '[["a", "b"]]', "[[1, NaN]]", "{}"])
def test_what_is_no_list_of_steps_is_named(tmp_path, text):
    with pytest.raises(DataError, match="text 2 is no JSON list of steps of 2 finite numbers"):
        make_labeler(tmp_path, "classification", vector_size=2).label_texts(["[[1, 2]]", text])


def test_every_target_is_answered_under_its_name_and_a_contraction_stays_one_in_each(tmp_path):
    labeler = make_labeler(tmp_path, model=dataclasses.replace(SMALL, heads={"tag": 1.0, "mood": 1.0}))
    apart, together, one = labeler.label_texts(["dois em um .", "dois num .", "dois"])
    first, preposition, article, last = apart["tag"]
    assert together["tag"] == [first, f"{preposition}+{article}", last]
    assert together["mood"] == apart["mood"] and one["mood"] in ("glad", "sad") and len(one["tag"]) == 1


def test_a_classifier_answers_a_further_target_with_one_label(tmp_path):
    (answer,) = make_labeler(tmp_path, "classification", dataclasses.replace(SMALL, heads={"mood": 1.0})).label_texts(["um dois"])
    assert set(answer) == {"label", "probability", "mood"} and answer["mood"] in ("glad", "sad")


def test_a_given_column_comes_with_the_words_as_json_and_changes_the_answer(tmp_path):
    labeler = make_labeler(tmp_path, model=dataclasses.replace(SMALL, features={"tag": 3}))
    texts = ['{"tokens": ["um", "dois"], "tag": ["s", "t"]}', '{"tokens": ["um", "dois"], "tag": ["t", "never seen"]}']
    first, second = labeler.label_texts(texts)
    assert first["words"] == ["um", "dois"] and len(first["labels"]) == 2
    assert first["probabilities"] != second["probabilities"]
    assert labeler.label_texts(texts[1:]) == [second]


@pytest.mark.parametrize(
    "text", ["um dois", "{}", '{"tokens": ["um"], "tag": []}', '{"tokens": ["um"], "tag": [1]}', '{"tokens": "um", "tag": "s"}']
)
def test_what_is_no_object_of_parallel_lists_is_named(tmp_path, text):
    labeler = make_labeler(tmp_path, model=dataclasses.replace(SMALL, features={"tag": 3}))
    with pytest.raises(DataError, match=r"text 1 is no JSON object of equally long lists \['tokens', 'tag'\]"):
        labeler.label_texts([text])
