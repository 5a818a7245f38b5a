"""What is exported says what the trained network says, and is refused where it does not."""

import dataclasses

import numpy as np
import pytest
from making import SMALL
from test_labeler import draw_texts, make_trained

import models.graph
from pipeline.engines import open_engine
from pipeline.errors import IntegrityError, ParamsError
from pipeline.export import export_model
from pipeline.labeler import Labeler
from pipeline.scoring import Split

TEST = Split([["um", "dois", "não"], ["Quatro"], ["três", ","]], [["A", "B", "C"], ["A"], ["B", "B"]], None)
NETWORKS = [
    {},
    {"crf": True, "cell": "gru"},
    {"cell": "simple_rnn", "heads": {"tag": 1.0, "mood": 1.0}},
    {"features": {"tag": 3, "capitalisation": 2}},
    {"word_size": 0, "char_encoder": "cnn"},
]


def export(folder, model=SMALL, task="tagging", **options):
    make_trained(folder, task, model, **options)
    split = dataclasses.replace(TEST, columns={"tag": [["s"] * len(words) for words in TEST.tokens]})
    return export_model(folder / "model", folder / "exported", split, num_batches=40)


@pytest.mark.parametrize("options", NETWORKS, ids=str)
def test_an_exported_model_answers_as_the_trained_one(tmp_path, options):
    parity = export(tmp_path, dataclasses.replace(SMALL, **options))
    assert parity.holds and parity.num_batches > 40
    texts = ['{"tokens": ["um", "não"], "tag": ["s", "t"]}'] if "features" in options else draw_texts(20, 60)
    trained, exported = (Labeler.load(tmp_path / name).label_texts(texts) for name in ("model", "exported"))
    for one, other in zip(trained, exported, strict=True):
        assert {**one, "probabilities": 0} == {**other, "probabilities": 0}
        np.testing.assert_allclose(one["probabilities"], other["probabilities"], atol=1e-6)


def test_numbers_per_step_are_exported(tmp_path):
    make_trained(tmp_path, "classification", vector_size=2)
    split = Split([[], []], [["A"], ["B"]], [[[1.0, 2.0]], [[0.5, 1.0], [2.0, -1.0]]])
    assert export_model(tmp_path / "model", tmp_path / "exported", split, num_batches=40).holds


def test_an_export_that_loses_the_lengths_is_refused(tmp_path, monkeypatch):
    add = models.graph.directions

    def unmasked(graph, *arguments, **options):
        graph.lengths, lengths = "", graph.lengths
        found = add(graph, *arguments, **options)
        graph.lengths = lengths
        return found

    monkeypatch.setattr(models.graph, "directions", unmasked)
    with pytest.raises(IntegrityError, match="is not registered; the exported graph does not say what the trained network says"):
        export(tmp_path)


def test_a_network_that_onnx_has_no_words_for_is_refused_and_the_part_named(tmp_path, monkeypatch):
    monkeypatch.setattr("models.onnx.OPERATORS", {})
    with pytest.raises(ParamsError, match="no operator for LSTMCell"):
        export(tmp_path)


def test_an_altered_graph_is_not_loaded(tmp_path):
    export(tmp_path)
    path = tmp_path / "exported" / "network.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"network\.onnx.*is not what was written"):
        Labeler.load(tmp_path / "exported")


def test_int8_goes_with_the_networks_that_can_be_had_so(tmp_path):
    export(tmp_path)
    assert open_engine(tmp_path / "exported", "int8").name == "int8"


def test_where_there_is_no_int8_that_is_said(tmp_path):
    export(tmp_path, dataclasses.replace(SMALL, cell="gru"))
    with pytest.raises(ValueError, match="no graph in int8"):
        open_engine(tmp_path / "exported", "int8")
