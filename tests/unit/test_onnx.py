"""The exported network against the network itself: the same logits, whatever the batch; in int8 nearly so."""

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from making import SMALL, make_examples

from models.config import ModelConfig, Setting, Sizes, Target, drop_idle
from models.network import build_network
from models.onnx import export
from models.onnx_forms import export_forms, form_size
from pipeline.engines import OnnxEngine
from pipeline.examples import Examples
from pipeline.trained import TorchEngine

LENGTHS = [7, 2, 1, 5, 5, 3, 12]
NETWORKS = [
    {},
    {"bidirectional": False},
    {"bidirectional": False, "go_backwards": True, "hidden": (5, 5), "residual": True},
    {"cell": "gru"},
    {"cell": "gru", "reset_after": False, "learned_state": True},
    {"cell": "simple_rnn"},
    {"cell": "simple_rnn", "activation": "relu", "merge": "ave", "hidden": (5, 4)},
    {"hidden": (5, 5, 5), "residual": True, "layer_norm": True},
    {"hidden": (5, 5), "residual": True, "merge": "sum", "pooling": "max"},
    {"hidden": (5, 4), "merge": "mul", "learned_state": True},
    {"crf": True, "char_encoder": "cnn", "char_width": 2},
    {"crf": True, "bio": True, "char_encoder": "cnn", "char_width": 3},
    {"word_size": 0, "char_encoder": "gru"},
    {"char_hidden": 0, "char_size": None, "features": {"tag": 3, "capitalisation": 2, "mood": 2}, "layer_norm": True},
    {"word_size": 0, "char_hidden": 0, "char_size": None, "features": {"tag": 3}},
    {"heads": {"tag": 0.5, "kind": 0.2}, "pooling": "mean", "dense": 3, "bptt_steps": 2},
]
BIO = ("B-x", "I-x", "O", "I-y")
POOLINGS = [{"pooling": kind, "dense": dense} for kind in ("final", "max", "mean", "attention") for dense in (0, 3)]


def draw_network(options, task="tagging"):
    """Build a network with weights far from 0, so that nothing hides."""
    features = {"capitalisation": 7, "tag": 6, "mood": 6}
    targets = {"tag": Target("tagging", 4), "kind": Target("classification", 3)}
    sizes = Sizes(
        task, num_words=20, num_chars=12, num_labels=4, num_fixed_words=6, features=features, targets=targets, labels=BIO
    )
    setting = Setting(task, sequence_targets=("kind",))
    network = build_network(drop_idle(dataclasses.replace(SMALL, **options), setting), sizes, seed=3).eval()
    with torch.no_grad():
        for part in network.parameters():
            part += 0.3 * torch.randn(part.shape, generator=torch.Generator().manual_seed(part.numel()))
    return network


def draw_examples(task="tagging", lengths=LENGTHS):
    rng = np.random.default_rng(2)
    columns = {name: rng.integers(1, 6, sum(lengths)).astype(np.int32) for name in ("tag", "mood")}
    return dataclasses.replace(make_examples(lengths, task), per_token=columns)


def ask(network, examples, rows, int8=False):
    """Run the exported graphs on a batch; returns each head's output."""
    forms = export_forms(network, int8) if form_size(network) else None
    return OnnxEngine(export(network, int8), forms, int8).run(examples, examples.forms, np.array(rows)).heads


def real_parts(values, lengths, per_step):
    """Give (B, T, ...) values without padding, or (B, ...) as they are."""
    return np.concatenate([row[:length] for row, length in zip(values, lengths, strict=True)]) if per_step else values


def assert_equal(network, examples, int8=False, atol=1e-5):
    rows = list(range(len(examples)))
    found = ask(network, examples, rows, int8)
    expected = TorchEngine(network).run(examples, examples.forms, np.array(rows)).heads
    assert set(found) == set(expected)
    for name, output in expected.items():
        per_step = output.logits.ndim == 3
        for kind in ("logits", "probabilities", "labels")[: 1 if int8 else 3]:
            sides = [real_parts(getattr(each, kind), examples.lengths, per_step) for each in (found[name], output)]
            np.testing.assert_allclose(*sides, atol=atol, rtol=0)


@pytest.mark.parametrize("options", NETWORKS, ids=str)
def test_a_taggers_graph_equals_the_network(options):
    assert_equal(draw_network(options), draw_examples())


@pytest.mark.parametrize(
    "options", [*POOLINGS, *({**one, "bidirectional": False, "go_backwards": True} for one in POOLINGS)], ids=str
)
def test_a_classifiers_graph_equals_the_network(options):
    assert_equal(draw_network(options, "classification"), draw_examples("classification"))


@pytest.mark.parametrize("options", NETWORKS, ids=str)
def test_final_states_are_read_at_the_real_ends(options):
    if not (options.get("residual") and options.get("merge")):
        assert_equal(
            draw_network({**options, "pooling": "final", "crf": False, "bio": None}, "classification"),
            draw_examples("classification"),
        )


def test_numbers_per_step_are_read():
    values = np.random.default_rng(0).normal(size=(11, 2)).astype(np.float32)
    examples = Examples(np.array([0, 3, 7, 11]), np.array([1, 0, 1], np.int32), values=values)
    network = build_network(ModelConfig(word_size=6, hidden=(5,)), Sizes("classification", 0, 0, 2, vector_size=2)).eval()
    assert_equal(network, examples)


@pytest.mark.parametrize("options", NETWORKS, ids=str)
def test_graphs_are_valid(options):
    network = draw_network(options)
    graphs = [export(network), *([export_forms(network)] if form_size(network) else [])]
    for graph in graphs:
        onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)


INT8 = [
    {},
    {"bidirectional": False, "go_backwards": True, "learned_state": True},
    {"hidden": (5, 5), "merge": "sum", "residual": True},
    {"hidden": (5, 4), "merge": "ave", "features": {"tag": 3, "capitalisation": 2}},
    {"hidden": (5, 5), "residual": True, "heads": {"tag": 0.5, "kind": 0.2}, "pooling": "attention", "char_encoder": "cnn"},
]


@pytest.mark.parametrize("options", INT8, ids=str)
def test_int8_is_near_the_network(options):
    assert_equal(draw_network(options), draw_examples(), int8=True, atol=0.15)


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("options", INT8, ids=str)
def test_padding_batch_mates_and_order_change_nothing(options, int8):
    network, examples = draw_network(options), draw_examples()
    together, shuffled = (ask(network, examples, rows, int8) for rows in ([0, 1, 2, 3, 4, 5, 6], [4, 6, 0]))
    for place, row in enumerate([4, 6, 0]):
        alone = ask(network, examples, [row], int8)
        for name, output in alone.items():
            kept = slice(0, LENGTHS[row]) if output.logits.ndim == 3 else slice(None)
            for other in (together[name].logits[row], shuffled[name].logits[place]):
                np.testing.assert_allclose(other[kept], output.logits[0][kept], atol=1e-6, rtol=0)


@pytest.mark.parametrize("options", [{"cell": "gru"}, {"layer_norm": True}, {"merge": "mul"}], ids=str)
def test_what_int8_can_not_do_is_said(options):
    with pytest.raises(ValueError, match="int8 is for"):
        export(draw_network(options), int8=True)


def test_a_cell_without_an_operator_is_named():
    network = draw_network({})
    network.rnn.layers[0].forward_layer.cell.__class__ = type(
        "PeepholeCell", (type(network.rnn.layers[0].forward_layer.cell),), {}
    )
    with pytest.raises(ValueError, match="no operator for PeepholeCell"):
        export(network)


@pytest.mark.parametrize("options", [*NETWORKS, *POOLINGS], ids=str)
def test_graphs_hold_nothing_that_they_do_not_read(options):
    network = draw_network(options, "classification" if "pooling" in options and "heads" not in options else "tagging")
    for graph in [export(network), *([export_forms(network)] if form_size(network) else [])]:
        drawn = onnx.load_from_string(graph).graph
        text = str(drawn.node)
        assert [item.name for item in drawn.initializer if f'"{item.name}"' not in text] == []
