"""A sample for a look: sequences of the split as the network reads them, not more than can be looked at."""

import numpy as np

from pipeline.batches import make_batch
from pipeline.examples import Examples
from pipeline.sample import MAX_SEQUENCES, MAX_STEPS, sample_batch
from pipeline.scoring import Split
from pipeline.vocab import RESERVED, Vocab

VOCAB = Vocab((*RESERVED, "a", "b"), (*RESERVED, *"abc"), ("X",), True, 30, columns={"tag": [*RESERVED, "s", "t"]})
SPLIT = Split([["a", "b"], [], ["c", "A", "a"]], [["X"] * 2, [], ["X"] * 3], None, {"tag": [["s", "t"], [], ["u", "s", "s"]]})


def test_words_characters_and_columns_are_those_of_the_vocabulary():
    batch = sample_batch(SPLIT, VOCAB, ["tag"])
    assert batch.lengths.tolist() == [2, 3]
    assert batch.words[0, :2].tolist() == [2, 3] and batch.words[1].tolist() == [1, 2, 2]
    assert batch.features["tag"][0, :2].tolist() == [2, 3] and batch.features["tag"][1].tolist() == [1, 2, 2]
    assert batch.chars[batch.forms[0, 1]][0] == VOCAB.chars.index("b")


def test_only_the_steps_that_the_network_reads_are_kept():
    assert sample_batch(SPLIT, VOCAB, [], read=slice(1)).words.tolist() == [[2], [1]]
    assert sample_batch(SPLIT, VOCAB, [], read=slice(-1, None)).words.tolist() == [[3], [2]]


def test_a_large_split_gives_no_more_than_can_be_looked_at():
    split = Split([["a"] * 1000] * 500, [], None)
    batch = sample_batch(split, VOCAB, [])
    assert batch.words.shape == (MAX_SEQUENCES, MAX_STEPS)


def test_the_same_seed_draws_the_same_sequences():
    split = Split([["a"] * length for length in range(1, 400)], [], None)
    once, twice, other = (sample_batch(split, VOCAB, [], seed=seed).lengths.tolist() for seed in (1, 1, 2))
    assert once == twice != other


def test_steps_of_numbers_are_taken_as_they_are():
    values = [[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]]
    batch = sample_batch(Split([[], []], [], values), VOCAB, [])
    whole = Examples(np.array([0, 1, 3]), values=np.array([step for row in values for step in row], np.float32))
    assert batch.values.tolist() == make_batch(whole, np.arange(2)).values.tolist()
