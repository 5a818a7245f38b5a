"""Our layers against torch's own: forward and backward at the default sizes, as ratios in one run.

    python benchmarks/cells.py [rounds]

Batches of the POS tagger's default size (400 words as 20 x 20, inputs of 150 numbers, 200 units), one thread. Equal: all
rows are 20 long. Ragged: 10 to 20 long, where torch packs. Rounds are interleaved; a row shows medians and the middle half
of the ratios over the rounds.
"""

import statistics
import sys
import time

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from models import GRU, LSTM, Bidirectional, SimpleRNN

ROWS, STEPS, INPUTS, UNITS = 20, 20, 150, 200
CASES = {
    "simple_rnn tanh": (SimpleRNN(INPUTS, UNITS), nn.RNN(INPUTS, UNITS, batch_first=True)),
    "simple_rnn relu": (SimpleRNN(INPUTS, UNITS, "relu"), nn.RNN(INPUTS, UNITS, nonlinearity="relu", batch_first=True)),
    "lstm": (LSTM(INPUTS, UNITS), nn.LSTM(INPUTS, UNITS, batch_first=True)),
    "gru, reset after": (GRU(INPUTS, UNITS), nn.GRU(INPUTS, UNITS, batch_first=True)),
    "gru, reset before": (GRU(INPUTS, UNITS, reset_after=False), nn.GRU(INPUTS, UNITS, batch_first=True)),
    "bidirectional lstm": (Bidirectional(LSTM(INPUTS, UNITS)), nn.LSTM(INPUTS, UNITS, batch_first=True, bidirectional=True)),
    "lstm, recurrent dropout": (LSTM(INPUTS, UNITS, recurrent_dropout=0.2), nn.LSTM(INPUTS, UNITS, batch_first=True)),
}


def ours(layer, inputs, lengths, upstream):
    layer(inputs, lengths)[0].backward(upstream)


def theirs(layer, inputs, lengths, upstream):
    if (lengths == STEPS).all():
        layer(inputs)[0].backward(upstream)
    else:
        packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
        pad_packed_sequence(layer(packed)[0], batch_first=True)[0].backward(upstream)


def seconds(run, *arguments):
    start = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - start


def compare(our_layer, their_layer, lengths, rounds):
    """Give the medians of both in milliseconds, and the quartiles of the ratio ours / theirs."""
    inputs = torch.randn(ROWS, STEPS, INPUTS, requires_grad=True)
    upstream = torch.randn(ROWS, STEPS, UNITS * (2 if isinstance(our_layer, Bidirectional) else 1))
    pairs = []
    for number in range(rounds + 5):
        pair = seconds(ours, our_layer, inputs, lengths, upstream), seconds(theirs, their_layer, inputs, lengths, upstream)
        if number >= 5:  # the first few warm up
            pairs.append(pair)
    ratios = [a / b for a, b in pairs]
    return *(1000 * statistics.median(column) for column in zip(*pairs, strict=True)), statistics.quantiles(ratios, n=4)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    torch.set_num_threads(1)
    torch.manual_seed(0)
    equal, ragged = torch.full((ROWS,), STEPS), torch.randint(STEPS // 2, STEPS + 1, (ROWS,))
    ragged[0] = STEPS
    print(f"torch {torch.__version__}, {rounds} rounds, one thread; milliseconds for forward + backward\n")
    print("| cell | lengths | ours | torch's own | ratio (middle half) |")
    print("| --- | --- | ---: | ---: | ---: |")
    for name, (our_layer, their_layer) in CASES.items():
        for kind, lengths in (("equal", equal), ("ragged", ragged)):
            our_ms, their_ms, (low, middle, high) = compare(our_layer, their_layer, lengths, rounds)
            print(f"| {name} | {kind} | {our_ms:.2f} | {their_ms:.2f} | {middle:.2f} ({low:.2f} to {high:.2f}) |")


if __name__ == "__main__":
    main()
