"""Labels one after the other: each keeps its sequence and its place."""

from pipeline.judged import judge

JUDGED = judge([["A", "B"], [], ["A"]], [["A", "A"], [], ["A"]], [[0.9, 0.6], [], [0.8]])


def test_every_label_keeps_its_sequence_and_its_place():
    assert JUDGED.examples.tolist() == [0, 0, 2] and JUDGED.places.tolist() == [0, 1, 0]


def test_what_is_right_is_what_agrees():
    assert JUDGED.is_right.tolist() == [True, False, True]


def test_probabilities_stand_beside_their_labels():
    assert list(zip(JUDGED.predicted, JUDGED.probabilities.tolist(), strict=True)) == [("A", 0.9), ("A", 0.6), ("A", 0.8)]


def test_a_split_without_labels_is_judged_to_hold_none():
    judged = judge([[]], [[]], [[]])
    assert judged.gold == [] and len(judged.is_right) == 0
