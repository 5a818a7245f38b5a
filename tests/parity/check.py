"""Hold our layers and the bridge against Keras itself: random models, outputs, states and gradients at equal weights.

Weights go from Keras to ours in every other model and from ours to Keras in the rest. Runs in an environment of its own, as
`make test-keras` makes it; pytest does not collect it.
"""

import sys
from collections import Counter

import keras
import numpy as np
import torch
from bridging import Level, Recipe, build_layers, draw_batch, pass_over
from twins import build_twins, pass_over_twins, same_bits, stir

from models.keras import dump_weights, load_weights, parity

SEED = 3  # draws every kind of layer in every direction and merge mode
NUM_MODELS = 50
NUM_REPORTS = 3
TOLERANCE = 1e-5
KINDS = ("tanh", "relu", "lstm", "gru", "gru_before")
MERGES = ("concat", "sum", "mul", "ave")


def draw_recipe(rng):
    """Draw 1 to 4 layers; the uppermost may read backwards or give the last output only."""
    num_levels = int(rng.integers(1, 5))
    levels = []
    for number in range(num_levels):
        is_top = number == num_levels - 1
        merge = str(rng.choice(MERGES)) if rng.random() < 0.5 else None
        levels.append(
            Level(
                kind=str(rng.choice(KINDS)),
                units=int(rng.integers(1, 41)),
                merge=merge,
                go_backwards=bool(is_top and merge is None and rng.random() < 0.5),
                return_sequences=bool(not is_top or rng.random() < 0.7),
            )
        )
    has_words = rng.random() < 0.4
    return Recipe(
        tuple(levels),
        input_size=int(rng.integers(1, 41)),
        num_words=int(rng.integers(5, 60)) if has_words else 0,
        # Keras leaves a reversed layer's padding in front, and a dense layer's outputs with it.
        num_labels=int(rng.integers(1, 10)) if has_words and not levels[-1].go_backwards else 0,
    )


def copy_weights(recipe, layers, twins, rng, *, from_keras):
    """Give both sides the same weights, and see that no bit changes on the way to ours and back."""
    for name, layer in layers.items():
        if from_keras:
            twins[name].set_weights(stir(twins[name].get_weights(), rng))
            load_weights(layer, twins[name].get_weights())
        else:
            with torch.no_grad():
                for parameter in layer.parameters():
                    parameter.add_(torch.from_numpy(rng.normal(0, 0.05, parameter.shape)))
            twins[name].set_weights(dump_weights(layer))
        arrays = twins[name].get_weights()
        assert same_bits(dump_weights(layer), arrays), f"{name}: the weights differ before any pass"
        other = build_layers(recipe)[name]
        load_weights(other, arrays)
        assert same_bits(dump_weights(other), arrays), f"{name}: Keras -> ours -> Keras changes bits"


def worst(ours, theirs):
    """Give the largest difference of any number."""
    assert ours.keys() == theirs.keys(), f"names differ: {sorted(ours.keys() ^ theirs.keys())}"
    for name, array in theirs.items():
        assert ours[name].shape == array.shape, f"{name}: {ours[name].shape}, Keras {array.shape}"
        assert np.isfinite(array).all(), f"{name} is not finite"
    return max(float(np.abs(ours[name] - theirs[name]).max()) for name in theirs)


def compare_model(number):
    """Draw a model and a batch and run both sides.

    Returns:
        The largest difference of an output or state, that of a gradient, and the kinds of layer met.
    """
    rng = np.random.default_rng([SEED, number])
    keras.utils.set_random_seed(1000 * SEED + number)
    recipe = draw_recipe(rng)
    layers, twins = build_layers(recipe), build_twins(recipe)
    copy_weights(recipe, layers, twins, rng, from_keras=number % 2 == 0)
    inputs, lengths = draw_batch(recipe, num_rows=int(rng.integers(2, 9)), num_steps=int(rng.integers(1, 16)))
    ours, our_gradients = pass_over(recipe, layers, inputs, lengths)
    theirs, their_gradients = pass_over_twins(recipe, twins, inputs, lengths)
    if number < NUM_REPORTS:
        print(f"model {number}: {', '.join(map(describe, recipe.levels))}; lengths {lengths.tolist()}")
        print(parity(ours | our_gradients, theirs | their_gradients), end="\n\n")
    return worst(ours, theirs), worst(our_gradients, their_gradients), Counter(map(describe, recipe.levels))


def describe(level):
    """Name a layer's kind and direction."""
    return f"{level.kind} {level.merge or ('backwards' if level.go_backwards else 'forwards')}"


def compare_plain():
    """Compare the layers that do not run over time.

    Returns:
        The largest difference of an output.
    """
    rng = np.random.default_rng(SEED)
    numbers = torch.from_numpy(rng.normal(size=(4, 9, 6)).astype(np.float32))
    words = torch.from_numpy(rng.integers(0, 20, (4, 9)))
    pairs = [
        (torch.nn.Embedding(20, 6), keras.layers.Embedding(20, 6), words),
        (torch.nn.LayerNorm(6), keras.layers.LayerNormalization(epsilon=1e-5), numbers),
        (torch.nn.Linear(6, 5), keras.layers.Dense(5), numbers),
        (torch.nn.Linear(6, 5, bias=False), keras.layers.Dense(5, use_bias=False), numbers),
        (AlongTime(6, 5, 3, padding=1), keras.layers.Conv1D(5, 3, padding="same"), numbers),
    ]
    apart = []
    for layer, twin, inputs in pairs:
        twin.build(tuple(inputs.shape))
        twin.set_weights(stir(twin.get_weights(), rng))
        load_weights(layer, twin.get_weights())
        assert same_bits(dump_weights(layer), twin.get_weights()), f"{twin.name}: Keras -> ours -> Keras changes bits"
        apart.append(worst({"": layer(inputs).detach().numpy()}, {"": twin(inputs).detach().numpy()}))
    return max(apart)


class AlongTime(torch.nn.Conv1d):
    """torch's convolution with time where Keras has it."""

    def forward(self, inputs):
        return super().forward(inputs.transpose(1, 2)).transpose(1, 2)


def main():
    """Print the report; exit with 1 if anything is too far apart."""
    output, gradient, met = zip(*map(compare_model, range(NUM_MODELS)), strict=True)
    counts = sum(met, Counter())
    missing = [f"{kind} {way}" for kind in KINDS for way in ("forwards", "backwards", *MERGES) if not counts[f"{kind} {way}"]]
    assert not missing, f"no model has {missing}; take another seed"
    plain = compare_plain()
    print(f"layers: {', '.join(f'{count} {name}' for name, count in sorted(counts.items()))}")
    print(
        f"{NUM_MODELS} models, Keras {keras.__version__} on {keras.backend.backend()}: worst output difference "
        f"{max(*output, plain):.2e}, worst gradient difference {max(gradient):.2e}; allowed {TOLERANCE:.0e}"
    )
    if max(*output, *gradient, plain) > TOLERANCE:
        sys.exit(1)


if __name__ == "__main__":
    main()
