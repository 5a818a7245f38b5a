"""Mistakes: the places behind a pair of labels, and the sequences that went most wrong."""

from functools import partial

from pipeline.judged import judge
from pipeline.mistakes import (
    AROUND,
    MAX_LETTERS,
    MAX_WORDS,
    begin_text,
    most_confused,
    pair_labels,
    show_text,
    show_word,
    worst,
)

TOKENS = [["the", "run", "ended"], ["run"], ["zzz", "the"]]
JUDGED = judge(
    [["D", "N", "V"], ["N"], ["N", "D"]],
    [["D", "V", "V"], ["V"], ["N", "N"]],
    [[0.9, 0.6, 0.8], [0.7], [0.5, 0.4]],
)


def words_of(judged, tokens):
    return lambda place: tokens[judged.examples[place]][judged.places[place]]


def test_wrong_pairs_come_first_and_each_has_its_count():
    pairs = pair_labels(JUDGED, ["D", "N", "V"], partial(show_word, JUDGED, TOKENS))
    assert [(it.gold, it.predicted, it.count) for it in pairs] == [
        ("N", "V", 2),
        ("D", "N", 1),
        ("D", "D", 1),
        ("N", "N", 1),
        ("V", "V", 1),
    ]


def test_of_wrong_answers_the_surest_are_shown():
    (pair, *_) = pair_labels(JUDGED, ["D", "N", "V"], partial(show_word, JUDGED, TOKENS), num_excerpts=1)
    assert [(it.number, it.shown, it.probability) for it in pair.excerpts] == [(2, ("", "run", ""), 0.7)]


def test_of_right_answers_the_least_sure_are_shown():
    judged = judge([["A"], ["A"]], [["A"], ["A"]], [[0.9], [0.6]])
    (pair,) = pair_labels(judged, ["A"], partial(show_text, judged, [["sure"], ["unsure"]]), num_excerpts=1)
    assert pair.excerpts[0].shown == ("", "unsure", "")


def test_labels_that_are_not_looked_at_make_no_pair():
    assert {(it.gold, it.predicted) for it in pair_labels(JUDGED, ["N", "V"], partial(show_word, JUDGED, TOKENS))} == {
        ("N", "V"),
        ("N", "N"),
        ("V", "V"),
    }


def test_the_labels_with_most_errors_are_looked_at():
    assert most_confused(JUDGED, 2) == ["N", "V"] and most_confused(JUDGED) == ["D", "N", "V"]


def test_a_word_is_shown_between_its_neighbours():
    judged = judge([["A"] * 40], [["A"] * 40], [[0.5] * 40])
    before, word, after = show_word(judged, [[str(number) for number in range(40)]], 20)
    assert word == "20"
    assert before == "… " + " ".join(str(number) for number in range(20 - AROUND, 20))
    assert after == " ".join(str(number) for number in range(21, 21 + AROUND)) + " …"


def test_a_long_text_and_a_long_word_are_shown_in_part():
    assert begin_text(["a"] * (MAX_WORDS + 1)) == "a " * MAX_WORDS + "…"
    assert begin_text(["x" * 100]) == "x" * (MAX_LETTERS - 1) + "…"


def test_the_worst_sequence_has_most_probability_in_its_wrong_labels():
    assert [(it.number, it.num_wrong, it.num_labels) for it in worst(JUDGED, words_of(JUDGED, TOKENS))] == [
        (2, 1, 1),
        (1, 1, 3),
        (3, 1, 2),
    ]


def test_a_sequence_without_errors_is_none_of_the_worst():
    judged = judge([["A"], ["A"]], [["A"], ["B"]], [[0.9], [0.6]])
    assert [it.number for it in worst(judged, words_of(judged, [["x"], ["y"]]))] == [2]


def test_of_a_long_sequence_the_part_around_its_first_error_is_shown():
    gold = [["A"] * 200, ["A"]]
    predicted = [["A"] * 150 + ["B"] + ["A"] * 49, ["A"]]
    judged = judge(gold, predicted, [[0.9] * 200, [0.9]])
    (failure,) = worst(judged, words_of(judged, [[str(number) for number in range(200)], ["x"]]))
    shown = [mark.text for mark in failure.marks]
    assert len(shown) == MAX_WORDS and "150" in shown and not failure.is_begun and shown[-1] == "199" and failure.is_ended
    assert [mark.text for mark in failure.marks if not mark.is_right] == ["150"]
