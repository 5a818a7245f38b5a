import numpy as np
import pytest
from seqeval.metrics.sequence_labeling import get_entities

from pipeline.spans import BioLabels

LABELS = ("O", "B-per", "I-per", "B-loc", "I-loc")
BIO = BioLabels.of(LABELS)


def _count(gold, predicted):
    ids = [np.array([[LABELS.index(label) for label in labels]]) for labels in (gold, predicted)]
    return BIO.count(*ids, np.ones((1, len(gold)), dtype=bool))


@pytest.mark.parametrize(
    ("gold", "predicted", "counts"),
    [
        (["B-per", "I-per", "O"], ["B-per", "I-per", "O"], (1, 1, 1)),
        (["B-per", "I-per", "O"], ["B-per", "O", "O"], (0, 1, 1)),
        (["B-per", "B-per", "O"], ["B-per", "I-per", "O"], (0, 1, 2)),
        (["B-per", "I-per", "O"], ["I-per", "I-per", "O"], (1, 1, 1)),
        (["B-per", "I-loc", "O"], ["B-per", "B-loc", "O"], (2, 2, 2)),
        (["O", "O"], ["O", "O"], (0, 0, 0)),
    ],
)
def test_entities_are_counted_as_conlleval_counts_them(gold, predicted, counts):
    assert _count(gold, predicted) == counts


def test_counts_equal_seqevals_on_random_ragged_batches():
    rng = np.random.default_rng(0)
    gold, predicted = rng.integers(0, 5, (2, 50, 12))
    lengths = rng.integers(1, 13, 50)
    found, sought = (
        {(row, *entity) for row, n in enumerate(lengths) for entity in get_entities([LABELS[i] for i in ids[row, :n]])}
        for ids in (predicted, gold)
    )
    is_real = np.arange(12) < lengths[:, None]
    assert BIO.count(gold, predicted, is_real) == (len(found & sought), len(found), len(sought))


def test_labels_that_are_not_bio_have_no_entities():
    assert BioLabels.of(("NOUN", "VERB")) is None
