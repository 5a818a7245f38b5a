"""Slices: every label is in one, intervals are Wilson's, and words of one sentence count for less than words of several."""

import numpy as np
import pytest

from pipeline.judged import judge
from pipeline.slices import (
    cut_by_ambiguity,
    cut_by_label_share,
    cut_by_length,
    cut_by_novelty,
    cut_by_unknown_share,
    interval,
    wilson,
)

TOKENS = [["the", "run", "ended"], ["run"], ["zzz", "the"], ["a", "b", "c", "d", "run"]]
GOLD = [["D", "N", "V"], ["V"], ["N", "D"], ["D", "X", "X", "X", "N"]]
PREDICTED = [["D", "V", "V"], ["V"], ["N", "D"], ["D", "N", "X", "X", "N"]]
LIKELY = [[0.9] * len(labels) for labels in GOLD]
TRAIN_TOKENS, TRAIN_LABELS = [["the", "run", "run", "ended"], ["a", "the"]], [["D", "N", "V", "V"], ["D", "D"]]
KNOWN = {word for words in TRAIN_TOKENS for word in words}
JUDGED = judge(GOLD, PREDICTED, LIKELY)
TEXTS = judge([["x"], ["x"], ["y"], ["z"]], [["x"], ["y"], ["y"], ["z"]], [[0.9], [0.6], [0.8], [0.7]])
CUTS = [
    (JUDGED, cut_by_length(JUDGED, [3, 1, 2, 5], "word")),
    (JUDGED, cut_by_label_share(JUDGED, [label for labels in TRAIN_LABELS for label in labels])),
    (JUDGED, cut_by_novelty(JUDGED, TOKENS, KNOWN)),
    (JUDGED, cut_by_ambiguity(JUDGED, TOKENS, TRAIN_TOKENS, TRAIN_LABELS)),
    (TEXTS, cut_by_unknown_share(TEXTS, TOKENS, KNOWN)),
    (TEXTS, cut_by_length(TEXTS, [7, 7, 7, 7], "step")),
    (TEXTS, cut_by_label_share(TEXTS, ["x"] * 999 + ["y"])),
]


def named(cut):
    return {it.name: (it.count, it.accuracy) for it in cut.slices}


@pytest.mark.parametrize(("judged", "cut"), CUTS, ids=lambda it: getattr(it, "title", ""))
def test_every_label_is_in_one_slice(judged, cut):
    assert sum(it.count for it in cut.slices) == len(judged.gold)
    assert sum(it.count * it.accuracy for it in cut.slices) == pytest.approx(judged.is_right.sum())


@pytest.mark.parametrize(("judged", "cut"), CUTS, ids=lambda it: getattr(it, "title", ""))
def test_an_interval_holds_the_accuracy(judged, cut):
    assert all(0 <= it.low <= it.accuracy <= it.high <= 1 for it in cut.slices)


def test_wilsons_interval_is_the_published_one():
    # Newcombe (1998), Statistics in Medicine 17, table I: 81 of 263, and 0 of 20.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


def test_sequences_of_one_label_have_wilsons_interval():
    is_right = np.arange(40) % 4 > 0
    assert interval(is_right, np.arange(40)) == pytest.approx(wilson(30, 40))


def test_words_that_are_wrong_together_count_as_one():
    examples = np.arange(20).repeat(10)
    is_right = examples % 4 > 0
    low, high = interval(is_right, examples)
    # 20 sentences, each right or wrong as a whole: (20 / 19) / (200 / 199) more than 20 independent ones would vary
    size = 200 / (10 * (20 / 19) / (200 / 199))
    assert (low, high) == pytest.approx(wilson(0.75 * size, size))


def test_one_sentence_or_no_error_leaves_wilsons_interval():
    assert interval(np.array([True, False]), np.array([3, 3])) == wilson(1, 2)
    assert interval(np.array([True, True]), np.array([3, 4])) == wilson(2, 2)


def test_words_that_train_lacks_are_apart():
    assert named(cut_by_novelty(JUDGED, TOKENS, KNOWN)) == {"in train": (7, 6 / 7), "not in train": (4, 0.75)}


def test_words_with_several_labels_in_train_are_apart():
    found = named(cut_by_ambiguity(JUDGED, TOKENS, TRAIN_TOKENS, TRAIN_LABELS))
    assert found == {"not in train": (4, 0.75), "1 label": (4, 1.0), "2 labels": (3, pytest.approx(2 / 3))}


def test_lengths_are_cut_into_quarters_of_the_sequences():
    found = named(cut_by_length(JUDGED, [3, 1, 2, 5], "word"))
    assert {name: count for name, (count, _) in found.items()} == {"1 word": 1, "2 words": 2, "3 words": 3, "4 to 5 words": 5}


def test_sequences_of_one_length_are_one_slice():
    assert named(cut_by_length(TEXTS, [7, 7, 7, 7], "step")) == {"7 steps": (4, 0.75)}


def test_labels_are_cut_by_what_share_of_train_has_them():
    found = named(cut_by_label_share(TEXTS, ["x"] * 999 + ["y"]))
    assert found == {"none": (1, 1.0), "up to 0.1 %": (1, 1.0), "over 20 %": (2, 0.5)}


def test_texts_are_cut_by_what_share_of_their_words_train_lacks():
    assert named(cut_by_unknown_share(TEXTS, TOKENS, KNOWN)) == {
        "none": (2, 0.5),
        "over 20 %": (2, 1.0),
    }
