"""Every option that is accepted is used, and one that does not apply is an error."""

from dataclasses import fields, replace

import pytest

from models import ModelConfig, Sizes, build_network
from models.config import Setting, Target, drop_idle, find_clashes, find_idle

PLAIN = ModelConfig(word_size=6, hidden=(4,))
IDLE = [
    ("tune_vectors", {"tune_vectors": False}, "tagging", False, False),
    ("char_encoder", {"char_hidden": 0, "char_encoder": "gru"}, "tagging", False, True),
    ("char_size", {"char_hidden": 0, "char_size": 5}, "tagging", False, True),
    ("char_width", {"char_width": 3}, "tagging", False, True),
    ("char_hidden", {"char_hidden": 5}, "classification", True, False),
    ("features", {"features": {"capitalisation": 3}}, "classification", True, False),
    ("activation", {"activation": "relu"}, "tagging", False, True),
    ("reset_after", {"reset_after": False}, "tagging", False, True),
    ("forget_bias", {"cell": "gru", "forget_bias": 1.0}, "tagging", False, True),
    ("merge", {"bidirectional": False, "merge": "sum"}, "tagging", False, True),
    ("go_backwards", {"go_backwards": True}, "tagging", False, True),
    ("residual", {"residual": True}, "tagging", False, True),
    ("pooling", {"pooling": "max"}, "tagging", False, True),
    ("dense", {"dense": 3}, "tagging", False, True),
    ("crf", {"crf": True}, "classification", False, True),
    ("bio", {"bio": True}, "tagging", False, True),
]


@pytest.mark.parametrize(("key", "options", "task", "is_numeric", "has_vectors"), IDLE, ids=[case[0] for case in IDLE])
def test_an_option_that_would_do_nothing_is_found_and_dropped(key, options, task, is_numeric, has_vectors):
    config = replace(PLAIN, **options)
    found = dict(find_idle(config, Setting(task, is_numeric, has_vectors)))
    assert list(found) == [key]
    dropped = drop_idle(config, Setting(task, is_numeric, has_vectors))
    assert not list(find_idle(dropped, Setting(task, is_numeric, has_vectors)))
    assert replace(dropped, **{key: getattr(config, key)}) == config


def test_an_option_that_hangs_on_a_dropped_one_is_dropped_too():
    assert drop_idle(replace(PLAIN, crf=True, bio=True), Setting("classification", has_vectors=True)) == PLAIN


@pytest.mark.parametrize("options", [{}, {"cell": "gru"}, {"cell": "simple_rnn"}, {"bidirectional": False}, {"char_hidden": 0}])
@pytest.mark.parametrize("task", ["tagging", "classification"])
def test_what_is_left_out_is_never_idle(options, task):
    assert not list(find_idle(replace(PLAIN, **options), Setting(task)))


@pytest.mark.parametrize(
    ("key", "options", "is_numeric", "match"),
    [
        ("hidden", {"hidden": ()}, False, "is empty"),
        ("word_size", {"word_size": 0, "char_hidden": 0}, False, "nothing would be read"),
        ("word_size", {"word_size": 0}, True, "numbers would go nowhere"),
        ("residual", {"hidden": (4, 5), "residual": True}, False, "equal width"),
        ("residual", {"hidden": (4, 4), "residual": True, "merge": "sum"}, False, "no final state"),
    ],
)
def test_options_that_can_not_be_had_together_are_found(key, options, is_numeric, match):
    ((found, text),) = find_clashes(replace(PLAIN, **options), Setting("classification", is_numeric))
    assert found == key and match in text


@pytest.mark.parametrize(("heads", "pools"), [({}, False), ({"xpos": 1.0}, False), ({"intent": 1.0}, True)])
def test_pooling_is_for_taggers_that_have_a_head_for_whole_sequences(heads, pools):
    config, setting = replace(PLAIN, heads=heads, pooling="max", dense=3), Setting("tagging", sequence_targets=("intent",))
    assert [key for key, _ in find_idle(config, setting)] == ([] if pools else ["pooling", "dense"])
    clashing = replace(PLAIN, heads=heads, hidden=(4, 4), residual=True, merge="sum")
    assert [key for key, _ in find_clashes(clashing, setting)] == (["residual"] if pools else [])


def test_building_names_every_problem_at_once():
    config = replace(PLAIN, activation="relu", hidden=(), features={"xpos": 3}, heads={"intent": 1.0})
    with pytest.raises(ValueError) as caught:
        build_network(config, Sizes("tagging", 9, 9, 3))
    for part in ("model.activation does nothing", "model.hidden is empty", "features names 'xpos'", "heads names 'intent'"):
        assert part in str(caught.value)


# One network in which each option is set to something else; its weights, its answers or its loss must then differ.
USED = {
    "word_size": 7, "tune_vectors": False, "char_hidden": 3, "char_encoder": "gru", "char_size": 5,
    "features": {"capitalisation": 2},
    "cell": "gru", "forget_bias": 0.0, "hidden": (5, 5), "bidirectional": False, "merge": "sum", "learned_state": True,
    "bptt_steps": 1, "residual": True, "layer_norm": True, "pooling": "max", "dense": 3, "crf": True, "heads": {"intent": 0.5},
    "input_dropout": 0.5, "dropout": 0.5, "recurrent_dropout": 0.5,
}  # fmt: skip
UNDER = {
    "char_width": {"char_encoder": "cnn"}, "activation": {"cell": "simple_rnn"}, "reset_after": {"cell": "gru"},
    "go_backwards": {"bidirectional": False}, "bio": {"crf": True}, "residual": {"hidden": (4, 4)},
    "pooling": {"heads": {"intent": 0.5}}, "dense": {"heads": {"intent": 0.5}},
}  # fmt: skip
USED |= {"char_width": 5, "activation": "relu", "reset_after": False, "go_backwards": True, "bio": True}
BASE = ModelConfig(word_size=6, char_hidden=4, hidden=(4,), input_dropout=0.0, dropout=0.0)


def _trace(config):
    """Give all that an option can change: shapes of the weights, the loss, the gradients."""
    import numpy as np
    import torch
    from making import make_examples

    from pipeline.batches import make_batch

    sizes = Sizes(
        "tagging", 20, 12, 4, 0, 6, {"capitalisation": 7}, {"intent": Target("classification", 3)}, ("O", "B-x", "I-x", "B-y")
    )
    torch.manual_seed(5)
    network = build_network(config, sizes, 1, torch.randn(20, config.word_size)).double()
    for parameter in network.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    examples = make_examples([5, 3, 6])
    examples = replace(examples, per_sequence={"intent": np.array([2, 3, 4], np.int32)})
    batch = make_batch(examples, np.arange(3), seed=1)
    sums = network.loss_sums(network(batch), batch)
    loss = sum(weight * sums[name] for name, weight in network.weights.items())
    loss.backward()
    shapes = [tuple(p.shape) for p in network.parameters()]
    grads = [None if p.grad is None else p.grad.sum().item() for p in network.parameters()]
    started = [p.flatten()[:9].tolist() for p in build_network(config, sizes, 1).parameters()]
    return shapes, loss.item(), grads, started


@pytest.mark.parametrize("key", [item.name for item in fields(ModelConfig)])
def test_every_option_changes_the_network(key):
    base = replace(BASE, **UNDER.get(key, {}))
    assert _trace(base) == _trace(base)
    assert _trace(replace(base, **{key: USED[key]})) != _trace(base)
