"""Write tests/unit/golden/keras.npz: what Keras says of the layers in `bridging.RECIPES`, for tests that do not need it.

Per recipe: weights as `get_weights` gives them, a ragged batch, every output and state, every gradient of
`bridging.example_loss`; once: the version of Keras and its backend. After `make test-keras`, from the project's folder:
`KERAS_BACKEND=torch PYTHONPATH=.:tests/unit .venv-keras/bin/python tests/parity/golden.py`.
"""

from pathlib import Path

import keras
import numpy as np
from bridging import RECIPES, draw_batch
from twins import build_twins, pass_over_twins, stir

GOLDEN_PATH = Path("tests/unit/golden/keras.npz")


def main():
    """Write the file anew; the same versions give the same numbers."""
    arrays = {"keras_version": np.array(keras.__version__), "backend": np.array(keras.backend.backend())}
    for number, (title, recipe) in enumerate(RECIPES.items()):
        keras.utils.set_random_seed(number)
        rng = np.random.default_rng(number)
        twins = build_twins(recipe)
        for name, twin in twins.items():
            twin.set_weights(stir(twin.get_weights(), rng))
            arrays |= {f"{title}/{name}/weight{place}": array for place, array in enumerate(twin.get_weights())}
        inputs, lengths = draw_batch(recipe, num_rows=4, num_steps=6)
        results, gradients = pass_over_twins(recipe, twins, inputs, lengths)
        own = {"inputs": inputs.numpy(), "lengths": lengths.numpy()} | results | gradients
        arrays |= {f"{title}/{name}": array for name, array in own.items()}
    GOLDEN_PATH.parent.mkdir(exist_ok=True)
    np.savez_compressed(GOLDEN_PATH, allow_pickle=False, **arrays)
    print(f"{GOLDEN_PATH}: {len(RECIPES)} models, {len(arrays)} arrays, {GOLDEN_PATH.stat().st_size} bytes")


if __name__ == "__main__":
    main()
