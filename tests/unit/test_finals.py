"""Finalists: which further seeds they get, which of them is proposed, and what is counted of an example."""

from itertools import chain

from pipeline.finals import Finalist, Verdict, _count, repeated
from pipeline.trials import Trial


def finalist(number, mean, parameters, *, is_tied=True):
    return Finalist(Trial(number, {}, parameters), [mean], mean, mean, mean, 0.5 if is_tied else 0.0003, is_tied, 1.0)


def test_further_seeds_are_shared_by_no_two_first_seeds():
    seeds = [[chosen["train.seed"] for chosen in repeated({"train.seed": seed}, 7, 3)] for seed in range(1, 11)]
    assert len(set(chain(*seeds))) == 30 and not set(chain(*seeds)) & set(range(1, 11))


def test_a_sample_without_a_seed_has_the_pipelines():
    assert repeated({"units": 8}, 2, 2) == [{"units": 8, "train.seed": 2001}, {"units": 8, "train.seed": 2002}]


def test_the_smallest_of_the_tied_is_proposed_and_never_one_that_is_worse():
    best, small, tiny = finalist(1, 0.9, 500), finalist(2, 0.89, 300), finalist(3, 0.5, 10, is_tied=False)
    verdict = Verdict([best, small, tiny], "accuracy")
    assert verdict.proposed is small
    assert [verdict.says(it) for it in verdict.finalists] == ["the best", "tied (p = 0.5); proposed", "worse (p < 0.001)"]


def test_of_equally_small_ones_the_better_is_proposed():
    best, other = finalist(1, 0.9, 302), finalist(2, 0.89, 300)
    assert Verdict([best, other], "accuracy").proposed is best


def test_an_example_counts_its_right_labels_or_twice_its_right_entities():
    gold, found = [["B-PER", "I-PER", "O", "B-LOC"]], [["B-PER", "I-PER", "B-LOC", "B-LOC"]]
    assert _count("accuracy", gold, found) == [(3, 4)]
    assert _count("entity_f1", gold, found) == [(4, 5)]
