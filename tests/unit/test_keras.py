"""Weights to and from Keras, without Keras: what it said is in golden/keras.npz, which tests/parity/golden.py writes."""

import re
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from bridging import RECIPES, build_layers, dump_gradients, pass_over
from layers import LAYERS, LENGTHS, assert_close, make_inputs, make_layer
from making import SMALL, batch_of, make_examples, make_network
from torch import nn

from models import Bidirectional, ModelConfig, Stacked
from models.embed import WordTable
from models.keras import bridged_layers, dump_weights, load_npz, load_weights, parity, save_npz

GOLDEN_PATH = Path(__file__).parent / "golden" / "keras.npz"
PLAIN = {
    "words": lambda: WordTable(9, 4, num_fixed=3),
    "embedding": lambda: nn.Embedding(9, 4),
    "dense": lambda: nn.Linear(4, 3),
    "dense_without_bias": lambda: nn.Linear(4, 3, bias=False),
    "norm": lambda: nn.LayerNorm(4),
    "convolution": lambda: nn.Conv1d(4, 6, 3),
}
EVERY_KIND = {
    **{kind: lambda kind=kind: make_layer(kind) for kind in LAYERS},
    **{f"both_{kind}": lambda kind=kind: Bidirectional(make_layer(kind)) for kind in LAYERS},
    **PLAIN,
}


@cache
def read_golden():
    with np.load(GOLDEN_PATH, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def of_recipe(title):
    """Keras's arrays of one recipe, by the names of `bridging.pass_over`."""
    start = f"{title}/"
    return {name.removeprefix(start): array for name, array in read_golden().items() if name.startswith(start)}


def keras_weights(arrays, name):
    count = sum(key.startswith(f"{name}/weight") for key in arrays)
    return [arrays[f"{name}/weight{number}"] for number in range(count)]


def load_golden(title):
    arrays = of_recipe(title)
    layers = build_layers(RECIPES[title])
    for name, layer in layers.items():
        load_weights(layer, keras_weights(arrays, name))
    return layers, arrays, torch.from_numpy(arrays["inputs"]), torch.from_numpy(arrays["lengths"])


def assert_same(ours, theirs, names):
    for name in names:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=1e-6, err_msg=name)


def draw_arrays(layer, dtype=np.float64):
    rng = np.random.default_rng(0)
    return [rng.normal(size=array.shape).astype(dtype) for array in dump_weights(layer)]


def held_values(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("title", RECIPES)
def test_kerass_weights_give_kerass_outputs_and_states(title):
    layers, theirs, inputs, lengths = load_golden(title)
    ours, _ = pass_over(RECIPES[title], layers, inputs, lengths)
    assert_same(ours, theirs, [name for name in theirs if re.search("outputs|state", name)])


@pytest.mark.parametrize("title", RECIPES)
def test_kerass_weights_give_kerass_gradients(title):
    layers, theirs, inputs, lengths = load_golden(title)
    _, ours = pass_over(RECIPES[title], layers, inputs, lengths)
    assert_same(ours, theirs, [name for name in theirs if "gradient" in name])


def test_layers_stacked_give_what_kerass_give_one_after_the_other():
    layers, theirs, inputs, lengths = load_golden("stack")
    stack = Stacked(list(layers.values()))
    outputs, state = stack(inputs, lengths)
    final = stack.final(outputs, state, lengths)
    assert_close(outputs, torch.from_numpy(theirs["layer1/outputs"]), atol=1e-6)
    assert_close(final, torch.from_numpy(theirs["layer1/state0"]), atol=1e-6)


@pytest.mark.parametrize("kind", ["tanh", "relu", "lstm"])
def test_each_of_two_biases_has_the_gradient_of_kerass_one(kind):
    layers, theirs, inputs, lengths = load_golden(kind)
    pass_over(RECIPES[kind], layers, inputs, lengths)
    for bias in ("bias_ih", "bias_hh"):
        *_, ours = dump_gradients(layers["layer0"], bias)
        np.testing.assert_allclose(ours, theirs["layer0/gradient2"], rtol=0, atol=1e-6)


def test_the_golden_file_holds_all_that_a_pass_gives_and_where_it_came_from():
    for title, recipe in RECIPES.items():
        layers, theirs, inputs, lengths = load_golden(title)
        ours, gradients = pass_over(recipe, layers, inputs, lengths)
        assert {name for name in theirs if "/weight" not in name} == {"inputs", "lengths", *ours, *gradients}
        assert lengths.min() < lengths.max()
    assert read_golden()["keras_version"].item().startswith("3.")
    assert read_golden()["backend"] == "torch"
    assert GOLDEN_PATH.stat().st_size < 200_000


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_arrays_come_back_bit_for_bit(kind, dtype):
    layer = EVERY_KIND[kind]().to(dtype)
    arrays = draw_arrays(layer, np.float32 if dtype == torch.float32 else np.float64)
    load_weights(layer, arrays)
    dumped = dump_weights(layer)
    assert [array.tobytes() for array in dumped] == [array.tobytes() for array in arrays]
    assert [array.dtype for array in dumped] == [array.dtype for array in arrays]


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_that_takes_anothers_arrays_computes_the_same(kind):
    layer, other = make_layer(kind), make_layer(kind)
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    load_weights(other, dump_weights(layer))
    x = make_inputs()
    assert_close(other(x, LENGTHS), layer(x, LENGTHS))


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_arrays_share_no_memory_with_the_layer(kind):
    layer = EVERY_KIND[kind]()
    arrays = draw_arrays(layer)
    load_weights(layer, arrays)
    loaded = held_values(layer)
    for array in (*arrays, *dump_weights(layer)):
        array += 1
    assert_close(tuple(held_values(layer).values()), tuple(loaded.values()), atol=0)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_arrays_of_other_shapes_are_refused_and_the_layer_stays_as_it_was(kind):
    layer = EVERY_KIND[kind]()
    before, arrays = held_values(layer), draw_arrays(layer)
    for wrong in (
        arrays[:-1],
        [*arrays, arrays[0]],
        [*arrays[:-1], arrays[-1][..., :-1]],
        [*arrays[:-1], arrays[-1][None]],
        [arrays[0].T, *arrays[1:]] if arrays[0].ndim > 1 else [],
    ):
        with pytest.raises(ValueError, match="takes arrays of the shapes"):
            load_weights(layer, wrong)
        assert_close(tuple(held_values(layer).values()), tuple(before.values()), atol=0)


def test_a_layer_that_keras_lacks_is_refused_by_name():
    with pytest.raises(ValueError, match="Keras has no layer that is a Bilinear; expected one of"):
        dump_weights(nn.Bilinear(2, 3, 4))


WHOLE = {
    "recurrent": SMALL,
    "gru_before": ModelConfig(word_size=6, char_size=4, char_hidden=3, hidden=(5, 5), cell="gru", reset_after=False),
    "convolution": ModelConfig(word_size=6, char_size=4, char_hidden=3, char_encoder="cnn", hidden=(5, 5), layer_norm=True),
}


@pytest.mark.parametrize("task", ["tagging", "classification"])
@pytest.mark.parametrize("config", WHOLE.values(), ids=WHOLE)
def test_a_whole_network_computes_the_same_after_a_file(config, task, tmp_path):
    network, other = make_network(config, task).eval(), make_network(config, task).eval()
    for module in (network, other):
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.4)
    batch = batch_of(make_examples([3, 1, 5], task), [0, 1, 2])
    save_npz(network, tmp_path / "weights.npz")
    assert (other(batch)["label"] - network(batch)["label"]).abs().max() > 0.1
    load_npz(other, tmp_path / "weights.npz")
    assert_close(other(batch)["label"], network(batch)["label"])


def test_a_file_holds_plain_arrays_and_no_pickle(tmp_path):
    save_npz(make_network(), tmp_path / "weights.npz")
    with zipfile.ZipFile(tmp_path / "weights.npz") as file:
        assert all(name.endswith(".npy") for name in file.namelist())
        assert not any(re.search(rb"'descr': '\|O'", file.read(name)[:128]) for name in file.namelist())
    with np.load(tmp_path / "weights.npz", allow_pickle=False) as file:
        assert {file[name].dtype for name in file.files} == {np.dtype(np.float64)}


def write_changed(network, path, change):
    """Write the network's file with some arrays changed."""
    save_npz(network, path)
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    change(arrays)
    np.savez(path, allow_pickle=False, **arrays)


def test_a_file_that_lacks_a_layer_is_refused_by_its_name(tmp_path):
    network = make_network()
    name = list(dict(bridged_layers(network)))[-1]
    write_changed(network, tmp_path / "weights.npz", lambda arrays: arrays.pop(f"{name}/0"))
    with pytest.raises(ValueError, match=rf"lacks \['{re.escape(name)}/0'\] and has \[\] too many"):
        load_npz(network, tmp_path / "weights.npz")


def test_a_file_with_a_layer_too_many_is_refused_by_its_name(tmp_path):
    network = make_network()
    write_changed(network, tmp_path / "weights.npz", lambda arrays: arrays.update({"rnn.more/0": np.zeros(3)}))
    with pytest.raises(ValueError, match=r"has \['rnn\.more/0'\] too many"):
        load_npz(network, tmp_path / "weights.npz")


def test_a_wrong_shape_in_the_last_layer_leaves_the_whole_network_as_it_was(tmp_path):
    network = make_network()
    before, name = held_values(network), list(dict(bridged_layers(network)))[-1]

    def change(arrays):
        for key in arrays:
            arrays[key] = arrays[key] + 1
        arrays[f"{name}/0"] = np.zeros((2, 2))

    write_changed(network, tmp_path / "weights.npz", change)
    with pytest.raises(ValueError, match=f"{re.escape(name)} takes arrays of the shapes"):
        load_npz(network, tmp_path / "weights.npz")
    assert_close(tuple(held_values(network).values()), tuple(before.values()), atol=0)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ModelConfig(word_size=6, char_hidden=0, hidden=(5,), crf=True), r"CRF.*which no layer of Keras has"),
        (ModelConfig(word_size=6, char_hidden=0, hidden=(5,), learned_state=True), "no learned initial state"),
    ],
    ids=["crf", "learned_state"],
)
def test_a_network_with_weights_that_keras_has_not_is_refused_and_no_file_written(config, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        save_npz(make_network(config), tmp_path / "weights.npz")
    assert not list(tmp_path.iterdir())


def test_the_report_has_a_line_per_layer_with_its_largest_difference():
    ours = {"a": np.array([1.0, -2.0]), "layer": np.array([[0.5]])}
    theirs = {"a": np.array([1.0, -2.25]), "layer": np.array([[0.5]])}
    assert [line.split() for line in parity(ours, theirs).splitlines()[1:]] == [
        ["a", "2.50e-01", "2.250"],
        ["layer", "0.00e+00", "0.500"],
    ]
