"""What is told to be better is better: luck makes a winner no more often than said, and a real one is found."""

import numpy as np
import pytest

from pipeline.noise import LEVEL, Tally, compare

NUM_EXAMPLES = 80


def drawn(random, *, num_seeds=3, skill=0.0, seed_luck=0.05, hardness=None):
    """Draw what a network found: examples are hard or easy, seeds lucky or not, and each meets each its own way."""
    hardness = random.normal(2, 2, NUM_EXAMPLES) if hardness is None else hardness
    labels = np.full(NUM_EXAMPLES, 12)
    logits = hardness + skill + random.normal(0, seed_luck, (num_seeds, 1)) + random.normal(0, 1, (num_seeds, NUM_EXAMPLES))
    got = random.binomial(labels, 1 / (1 + np.exp(-logits)))
    return Tally(got.astype(float), np.tile(labels, (num_seeds, 1)).astype(float))


def comparisons(num_networks, num_rounds=100, skill=0.0, **options):
    """Compare networks of one skill, but for the first, many times over."""
    random = np.random.default_rng(5)
    for number in range(num_rounds):
        hardness = random.normal(2, 2, NUM_EXAMPLES)
        skills = [skill] + [0.0] * (num_networks - 1)
        yield compare([drawn(random, skill=s, hardness=hardness, **options) for s in skills], number, num_draws=400)


@pytest.mark.parametrize("num_networks", [2, 10])
@pytest.mark.parametrize("seed_luck", [0.0, 0.3], ids=["one seed is as good as another", "seeds differ"])
def test_of_equal_networks_luck_makes_a_winner_in_no_more_than_a_twentieth_of_comparisons(num_networks, seed_luck):
    found = [(result.p_values <= LEVEL).any() for result in comparisons(num_networks, seed_luck=seed_luck)]
    assert np.mean(found) <= 0.08, "100 comparisons: 5 expected, 8 by chance in one of ten such tests"


def test_a_network_that_is_better_is_found(num_networks=10):
    found = [result.p_values[0, 1:].max() <= LEVEL for result in comparisons(num_networks, num_rounds=30, skill=1.0)]
    assert np.mean(found) >= 0.9


def test_what_is_hard_for_all_hides_no_difference():
    random = np.random.default_rng(1)
    hardness = random.choice([-3.0, 6.0], NUM_EXAMPLES)
    better, worse = (drawn(random, skill=skill, seed_luck=0.0, hardness=hardness) for skill in (1.5, 0.0))
    result = compare([worse, better], seed=0)
    assert result.best == 1 and result.p_values[0, 1] <= LEVEL
    assert result.low[1] < result.scores[0], "by itself each score is less sure than their difference"


def test_seeds_that_differ_more_than_networks_leave_them_tied():
    wide, narrow = (
        Tally(np.tile(np.array(got)[:, None], NUM_EXAMPLES) / 10, np.ones((3, NUM_EXAMPLES))) for got in ([9, 5, 7], [6, 8, 4])
    )
    assert compare([wide, narrow], seed=0).p_values[0, 1] > LEVEL


def test_the_interval_of_a_score_is_as_wide_as_its_examples_and_seeds_make_it():
    labels = np.ones((4, NUM_EXAMPLES))
    got = np.tile(np.arange(NUM_EXAMPLES) % 4 > 0, (4, 1)).astype(float)
    result = compare([Tally(got, labels)], seed=0)
    deviation = np.sqrt(0.75 * 0.25 / NUM_EXAMPLES)
    assert result.scores[0] == pytest.approx(0.75)
    assert result.high[0] - result.low[0] == pytest.approx(2 * 1.96 * deviation, rel=0.1)


def test_networks_may_have_different_numbers_of_seeds_and_of_possible_points():
    random = np.random.default_rng(2)
    found = drawn(random, num_seeds=1)
    more = drawn(random, num_seeds=3)
    result = compare([found, Tally(more.got, more.possible + random.integers(0, 3, more.possible.shape))], seed=0)
    assert result.p_values.shape == (2, 2) and np.isfinite(result.p_values).all()
    assert result.p_values[0, 0] == 1


def test_one_seed_of_each_shows_no_noise():
    random = np.random.default_rng(3)
    with pytest.raises(AssertionError, match="no noise"):
        compare([drawn(random, num_seeds=1) for _ in range(2)], seed=0)


def test_a_score_is_the_share_of_what_was_possible():
    assert Tally(np.array([[1.0, 2.0]]), np.array([[2.0, 4.0]])).scores.tolist() == [0.5]
    assert Tally(np.array([[0.0]]), np.array([[0.0]])).scores.tolist() == [0.0]
