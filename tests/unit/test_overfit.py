"""One batch by heart: what of it contradicts itself, and when it counts as learnt."""

import numpy as np
import pytest

from pipeline.examples import Examples
from pipeline.overfit import NEAR_ZERO, Memory, contradictions

TAGGED = Examples(
    np.array([0, 2, 3, 5, 7]),
    labels=np.array([1, 2, 3, 1, 2, 1, 1], np.int32),
    tokens=np.array([5, 6, 7, 5, 6, 5, 6], np.int32),
)


def test_equal_sequences_with_other_labels_are_found_and_those_with_equal_ones_are_not():
    assert contradictions(TAGGED) == [(0, 3)]


def test_of_classified_sequences_the_one_label_counts():
    texts = Examples(np.array([0, 2, 4, 6]), labels=np.array([0, 1, 0], np.int32), tokens=np.array([5, 6, 5, 6, 5, 6], np.int32))
    assert contradictions(texts) == [(0, 1)]


def test_some_of_a_splits_sequences_are_the_same_sequences():
    some = TAGGED.take(np.array([2, 1]))
    assert some.offsets.tolist() == [0, 2, 3] and some.tokens.tolist() == [5, 6, 7] and some.labels.tolist() == [1, 2, 3]
    numbers = Examples(np.array([0, 1, 3]), labels=np.array([4, 5], np.int32), values=np.array([[1.0], [2.0], [3.0]], np.float32))
    assert numbers.take(np.array([1])).values.tolist() == [[2.0], [3.0]] and numbers.take(np.array([1])).labels.tolist() == [5]


def test_further_columns_go_with_their_sequences():
    further = Examples(
        np.array([0, 1, 3]),
        labels=np.array([4, 5], np.int32),
        tokens=np.array([1, 2, 3], np.int32),
        per_token={"ending": np.array([7, 8, 9], np.int32)},
        per_sequence={"size": np.array([1, 2], np.int32)},
    ).take(np.array([1]))
    assert further.per_token["ending"].tolist() == [8, 9] and further.per_sequence["size"].tolist() == [2]


@pytest.mark.parametrize(("loss", "is_whole"), [(NEAR_ZERO * 0.9, True), (NEAR_ZERO * 1.1, False), (float("nan"), False)])
def test_a_batch_is_learnt_by_heart_where_its_loss_is_near_zero(loss, is_whole):
    assert Memory(1, loss, 1.0).is_whole is is_whole
