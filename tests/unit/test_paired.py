"""Two models beside each other: the scores are those of `pipeline.scores`, and what is hard for both counts for neither."""

import numpy as np
import pytest

from pipeline.paired import compare, count, score
from pipeline.scores import tagging_scores

ENTITIES = ("O", "B-x", "I-x", "B-y")


def draw(seed, wrong, num_sentences=200):
    """Draw gold labels, and answers of which a share is drawn anew."""
    rng = np.random.default_rng(seed)
    gold = [rng.choice(ENTITIES, rng.integers(1, 9)).tolist() for _ in range(num_sentences)]
    return gold, [[label if rng.random() > wrong else str(rng.choice(ENTITIES)) for label in row] for row in gold]


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "entity_f1"])
def test_the_score_of_all_examples_is_that_of_the_report(metric):
    gold, answers = draw(1, 0.4)
    known = [[True] * len(row) for row in gold]
    assert score(count(metric, gold, answers)) == pytest.approx(tagging_scores(gold, answers, known)[metric], abs=1e-12)


def test_a_model_beside_itself_gains_nothing_for_sure():
    counted = count("accuracy", *draw(1, 0.4))
    gain = compare(counted, counted)
    assert (gain.points, gain.low, gain.high) == (0, 0, 0)


def test_the_interval_holds_the_gain_and_is_the_same_each_time():
    gold, answers = draw(1, 0.4)
    ours, theirs = count("macro_f1", gold, gold), count("macro_f1", gold, answers)
    gain = compare(ours, theirs)
    assert gain.low < gain.points < gain.high and gain == compare(ours, theirs)


def test_an_interval_of_a_larger_share_is_wider():
    gold, answers = draw(1, 0.4)
    ours, theirs = count("accuracy", gold, gold), count("accuracy", gold, answers)
    narrow, wide = compare(ours, theirs, 0.5), compare(ours, theirs, 0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_examples_that_are_hard_for_both_make_a_gain_no_less_sure():
    gold = [["A"]] * 400
    ours = [["A"] if i % 2 or i < 10 else ["B"] for i in range(400)]
    theirs = [["A"] if i % 2 else ["B"] for i in range(400)]
    gain = compare(count("accuracy", gold, ours), count("accuracy", gold, theirs))
    assert gain.low > 0 and gain.high < 0.03


def test_the_interval_is_as_wide_as_theory_has_it():
    random = np.random.default_rng(5)
    answers = [[["A"] if right else ["B"] for right in random.random(2000) < share] for share in (0.6, 0.5)]
    gold = [["A"]] * 2000
    gain = compare(*(count("accuracy", gold, said) for said in answers))
    differences = np.array([(a == ["A"]) - (b == ["A"]) for a, b in zip(*answers, strict=True)], float)
    assert gain.high - gain.low == pytest.approx(2 * 1.96 * differences.std() / np.sqrt(2000), rel=0.06)
