"""What is exported says what the trained network says, and is refused where it does not."""

import dataclasses

import numpy as np
import pytest
from making import SMALL
from test_labeler import draw_texts, make_trained

import models.graph
from pipeline.checkpoint import save_checkpoint
from pipeline.engines import open_engine
from pipeline.errors import IntegrityError, ParamsError
from pipeline.export import export_model
from pipeline.labeler import Labeler
from pipeline.parity import TOLERANCE
from pipeline.scoring import Split
from pipeline.trained import Trained

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
    assert parity.holds() and parity.num_batches > 40
    texts = ['{"tokens": ["um", "não"], "tag": ["s", "t"]}'] if "features" in options else draw_texts(20, 60)
    trained, exported = (Labeler.load(tmp_path / name).label_texts(texts) for name in ("model", "exported"))
    for one, other in zip(trained, exported, strict=True):
        assert {**one, "probabilities": 0} == {**other, "probabilities": 0}
        np.testing.assert_allclose(one["probabilities"], other["probabilities"], atol=1e-6)


def test_numbers_per_step_are_exported(tmp_path):
    make_trained(tmp_path, "classification", vector_size=2)
    split = Split([[], []], [["A"], ["B"]], [[[1.0, 2.0]], [[0.5, 1.0], [2.0, -1.0]]])
    assert export_model(tmp_path / "model", tmp_path / "exported", split, num_batches=40).holds()


def lose_lengths(monkeypatch):
    add = models.graph.directions

    def unmasked(graph, *arguments, **options):
        graph.lengths, lengths = "", graph.lengths
        found = add(graph, *arguments, **options)
        graph.lengths = lengths
        return found

    monkeypatch.setattr(models.graph, "directions", unmasked)


def test_an_export_that_loses_the_lengths_is_refused(tmp_path, monkeypatch):
    lose_lengths(monkeypatch)
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


def sharpen(folder, factor):
    """Make the weights of a saved network so large that it makes much of a last digit."""
    trained = Trained.load(folder / "model")
    tensors = {name: tensor.double() * (factor if "cell" in name else 1) for name, tensor in trained.network.state_dict().items()}
    save_checkpoint(folder / "model", tensors, trained.meta, folder / "vocab.json")


def test_a_network_that_makes_much_of_rounding_is_exported_as_near_as_rounding_lets_it(tmp_path):
    make_trained(tmp_path)
    sharpen(tmp_path, 5)
    parity = export_model(tmp_path / "model", tmp_path / "exported", TEST, num_batches=100)
    assert TOLERANCE < parity.scaled < 1e-3 and not parity.num_other_labels


def test_such_a_network_is_refused_where_its_export_loses_the_lengths(tmp_path, monkeypatch):
    make_trained(tmp_path)
    sharpen(tmp_path, 5)
    lose_lengths(monkeypatch)
    with pytest.raises(IntegrityError, match="is not registered"):
        export_model(tmp_path / "model", tmp_path / "exported", TEST, num_batches=40)


def test_numbers_per_step_are_exported_from_a_network_in_float64(tmp_path):
    make_trained(tmp_path, "classification", vector_size=2)
    sharpen(tmp_path, 1)
    split = Split([[], []], [["A"], ["B"]], [[[1.0, 2.0]], [[0.5, 1.0], [2.0, -1.0]]])
    assert export_model(tmp_path / "model", tmp_path / "exported", split, num_batches=40).holds()
