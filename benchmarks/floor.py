"""The floor: what a network's arithmetic alone would take, at the speed of this machine's own matrix product.

    python benchmarks/floor.py [--threads N]

prints the speed of a large float32 product, in GFLOPS. `flops_per_word` counts the network's own.
"""

import argparse
import json
import statistics
import time

import torch

from models.config import ModelConfig

GATES = {"lstm": 4, "gru": 3, "simple_rnn": 1}
TRAINING = 3
"""Forward, and as much again for the gradient of the inputs and for that of the weights."""


def flops_per_word(config: ModelConfig, num_labels: int, chars_per_word: float) -> float:
    """Count multiplications and additions of the matrix products per word, forward; every word's characters are read anew.

    Args:
        config: a tagger of words, with a recurrent character network or none.
        num_labels: classes.
        chars_per_word: on average.
    """
    directions = 2 if config.bidirectional else 1
    char_hidden = 25 if config.char_hidden is None else config.char_hidden
    char_size, gates = config.char_size or 25, GATES[config.char_encoder or "lstm"]
    total = 2 * chars_per_word * _layer(char_size, char_hidden, gates) if char_hidden else 0.0
    size = config.word_size + 2 * char_hidden
    for hidden in config.hidden:
        total += directions * _layer(size, hidden, GATES[config.cell])
        size = directions * hidden
    return total + 2 * size * num_labels


def _layer(inputs: int, hidden: int, gates: int) -> float:
    return 2 * gates * hidden * (inputs + hidden)


def matrix_gflops(threads: int, size: int = 2048, rounds: int = 15) -> float:
    """Measure the median speed of a float32 product of two size x size matrices."""
    torch.set_num_threads(threads)
    a, b = torch.randn(size, size), torch.randn(size, size)
    out = a @ b
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(seconds) / 1e9


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    print(json.dumps({"event": "floor", "all": matrix_gflops(options.threads), "one": matrix_gflops(1)}), flush=True)
