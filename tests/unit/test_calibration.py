"""Calibration: bins, their error and silence, against figures worked out by hand."""

import numpy as np
import pytest

from pipeline.calibration import accuracy_by_coverage, calibration_error, reliability, silence_below

PROBABILITIES = np.array([0.95, 0.91, 0.55, 0.51, 0.6])
IS_RIGHT = np.array([True, False, True, False, True])


def test_a_bin_holds_its_lower_end_and_the_last_one_its_upper_end_too():
    bins = reliability(np.array([0.0, 0.1, 0.19, 1.0]), np.array([True] * 4))
    assert [(it.low, it.high, it.count) for it in bins] == [(0.0, 0.1, 1), (0.1, 0.2, 2), (0.9, 1.0, 1)]


def test_a_bin_tells_its_mean_probability_and_accuracy():
    (low, middle, high) = reliability(PROBABILITIES, IS_RIGHT)
    assert (low.probability, low.accuracy) == pytest.approx((0.53, 0.5))
    assert (middle.probability, middle.accuracy) == pytest.approx((0.6, 1.0))
    assert (high.probability, high.accuracy) == pytest.approx((0.93, 0.5))


def test_the_calibration_error_is_the_one_worked_out_by_hand():
    by_hand = (2 * abs(0.5 - 0.53) + 1 * abs(1.0 - 0.6) + 2 * abs(0.5 - 0.93)) / 5
    assert calibration_error(reliability(PROBABILITIES, IS_RIGHT)) == pytest.approx(by_hand)


def test_a_model_that_is_as_right_as_it_says_has_no_calibration_error():
    assert calibration_error(reliability(np.full(4, 0.75), np.array([True, True, True, False]))) == pytest.approx(0)


def test_without_answers_there_is_no_error():
    assert calibration_error(reliability(np.empty(0), np.empty(0, bool))) == 0


def test_keeping_silent_leaves_the_answers_that_are_at_least_as_likely():
    (every, some, none) = silence_below(PROBABILITIES, IS_RIGHT, [0.0, 0.6, 0.99])
    assert (every.count, every.answered, every.accuracy, every.wrong) == (5, 1.0, 0.6, 2)
    assert (some.count, some.answered, some.wrong) == (3, 0.6, 1) and some.accuracy == pytest.approx(2 / 3)
    assert (none.count, none.answered, none.accuracy, none.wrong) == (0, 0.0, None, 0)


def test_answering_more_starts_with_the_likeliest_and_ends_with_all():
    answered, accuracy = accuracy_by_coverage(PROBABILITIES, IS_RIGHT)
    assert answered == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert accuracy == pytest.approx([1, 1 / 2, 2 / 3, 3 / 4, 3 / 5])


def test_answers_that_are_as_likely_are_given_together():
    answered, accuracy = accuracy_by_coverage(np.array([0.9, 0.9, 0.5]), np.array([True, False, True]))
    assert answered == pytest.approx([2 / 3, 1]) and accuracy == pytest.approx([1 / 2, 2 / 3])


def test_a_curve_has_no_more_points_than_asked_for_and_reaches_all():
    answered, accuracy = accuracy_by_coverage(np.linspace(0, 1, 5000), np.arange(5000) % 2 == 0, 50)
    assert len(answered) == len(accuracy) <= 50 and answered[-1] == 1 and accuracy[-1] == 0.5
