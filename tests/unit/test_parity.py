"""Two engines beside each other: what differs is found, wherever it hides, and what does not is let through."""

import dataclasses

import numpy as np
import pytest
from making import SMALL
from test_labeler import VOCAB, make_trained

from pipeline.engines import Output
from pipeline.parity import Asked, Parity, compare, compare_engines, compare_padding, draw_batches
from pipeline.trained import TorchEngine

LENGTHS = np.array([3, 1])
RIGHT = Output(
    np.array([[0, 1, 0], [1, 0, 0]]), np.ones((2, 3)), np.array([[[2.0, 0], [0, 2], [2, 0]], [[0, 2], [9, 9], [9, 9]]])
)


def changed(kind, place, value):
    found = getattr(RIGHT, kind).copy()
    found[place] = value
    return dataclasses.replace(RIGHT, **{kind: found})


def test_an_output_is_at_parity_with_itself():
    assert compare(RIGHT, RIGHT, LENGTHS) == Parity(1, 4, 0.0, 0.0, 0)


def test_what_stands_at_padding_counts_nothing():
    assert compare(RIGHT, changed("logits", (1, 2), 50.0), LENGTHS).holds()


@pytest.mark.parametrize("value", [2.0001, np.nan, np.inf])
def test_one_logit_that_is_off_is_found(value):
    assert not compare(RIGHT, changed("logits", (0, 2, 0), value), LENGTHS).holds()


def test_a_difference_counts_by_the_size_of_the_logits():
    large = dataclasses.replace(RIGHT, logits=RIGHT.logits * 1000)
    near = dataclasses.replace(large, logits=large.logits + 1e-3)
    assert (
        compare(large, near, LENGTHS).holds()
        and not compare(RIGHT, dataclasses.replace(RIGHT, logits=RIGHT.logits + 1e-3), LENGTHS).holds()
    )


def test_another_label_is_found():
    assert compare(RIGHT, changed("labels", (0, 1), 0), LENGTHS).num_other_labels == 1


def test_two_labels_that_are_as_likely_may_be_taken_for_each_other():
    tied = dataclasses.replace(RIGHT, logits=np.full((2, 3, 2), 1.0))
    assert compare(tied, dataclasses.replace(tied, labels=1 - tied.labels), LENGTHS).holds()


def test_drawn_batches_are_of_all_shapes_and_hold_every_sequence_once():
    lengths, batches = draw_batches(200)
    assert np.concatenate(batches).tolist() == list(range(len(lengths)))
    assert {len(rows) for rows in batches} == set(range(1, 9))
    assert lengths.min() == 1 and lengths.max() > 50


def test_an_engine_that_reads_padding_is_found(tmp_path):
    trained = make_trained(tmp_path, "classification", dataclasses.replace(SMALL, pooling="mean"))

    class Padded(TorchEngine):
        def run(self, examples, forms, rows):
            found = super().run(examples, forms, rows)
            share = examples.lengths[rows] / examples.lengths[rows].max()  # as a mean over padding, too
            return dataclasses.replace(
                found,
                heads={
                    name: dataclasses.replace(each, logits=each.logits * share[:, None]) for name, each in found.heads.items()
                },
            )

    asked = Asked.draw(np.array([3, 1, 7, 20]), VOCAB, trained.network.sizes, [])
    assert compare_padding(TorchEngine(trained.network), asked, VOCAB).holds()
    assert not compare_padding(Padded(trained.network), asked, VOCAB).holds()


def test_every_head_is_compared(tmp_path):
    trained = make_trained(tmp_path, model=dataclasses.replace(SMALL, heads={"tag": 1.0, "mood": 1.0}))
    asked = Asked.draw(np.array([3, 1]), VOCAB, trained.network.sizes, [])
    engine = TorchEngine(trained.network)
    assert compare_engines(engine, engine, asked, VOCAB, [np.array([0, 1])]).num_labels == 4 + 4 + 2
