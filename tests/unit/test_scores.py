"""Scores and floors, on cases small enough to count by hand."""

import pytest

from pipeline.scores import (
    classification_scores,
    confusion,
    is_bio,
    label_table,
    most_frequent_tag_floor,
    tagging_scores,
    tfidf_floor,
)


def all_known(rows: list[list[str]]) -> list[list[bool]]:
    return [[True] * len(row) for row in rows]


def test_accuracy_counts_tokens_not_sentences() -> None:
    gold = [["D", "N", "V"], ["N"]]
    assert tagging_scores(gold, [["D", "N", "N"], ["V"]], all_known(gold))["accuracy"] == 0.5


def test_known_and_unknown_words_have_their_own_accuracy() -> None:
    known = [[True, True, False], [False]]
    scores = tagging_scores([["D", "N", "V"], ["N"]], [["D", "V", "V"], ["N"]], known)
    assert (scores["accuracy_known"], scores["accuracy_unknown"]) == (0.5, 1.0)


def test_without_unknown_words_their_accuracy_is_absent() -> None:
    assert "accuracy_unknown" not in tagging_scores([["D"]], [["D"]], [[True]])


def test_without_known_words_their_accuracy_is_absent() -> None:
    assert "accuracy_known" not in tagging_scores([["D"]], [["D"]], [[False]])


def test_macro_f1_weighs_a_rare_label_as_a_frequent_one() -> None:
    scores = classification_scores(["a", "a", "a", "b"], ["a", "a", "a", "a"])
    assert scores["macro_f1"] == pytest.approx((6 / 7 + 0) / 2)


def test_classification_accuracy_is_the_share_of_right_labels() -> None:
    assert classification_scores(["a", "a", "a", "b"], ["a", "a", "a", "a"])["accuracy"] == 0.75


def test_rows_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError):
        tagging_scores([["D", "N"]], [["D"]], [[True, True]])


@pytest.mark.parametrize(
    ("labels", "is_entities"),
    [
        (["O", "B-per", "I-per"], True),
        (["I-per"], True),
        (["O"], False),
        (["NOUN", "VERB"], False),
        (["B-per", "NOUN"], False),
        (["B-", "O"], False),
        ([], False),
    ],
)
def test_bio_is_what_marks_entities(labels: list[str], is_entities: bool) -> None:
    assert is_bio(labels) == is_entities


def test_labels_that_are_not_bio_have_no_entity_scores() -> None:
    assert set(tagging_scores([["D"]], [["D"]], [[True]], [["x"]])) == {"accuracy", "accuracy_known", "macro_f1"}


def test_an_entity_is_right_only_whole_and_with_its_type() -> None:
    gold = [["B-per", "I-per", "O", "B-loc", "O", "B-org"]]
    predicted = [["B-per", "O", "O", "B-loc", "O", "B-loc"]]
    scores = tagging_scores(gold, predicted, all_known(gold))
    assert scores["entity_f1"] == pytest.approx(1 / 3)


def test_a_stray_inside_label_begins_an_entity() -> None:
    gold = [["O", "B-per", "I-per", "O", "B-loc"]]
    predicted = [["O", "I-per", "I-per", "O", "I-per"]]
    scores = tagging_scores(gold, predicted, all_known(gold))
    assert (scores["entity_precision"], scores["entity_recall"], scores["entity_f1"]) == (0.5, 0.5, 0.5)


def test_an_inside_label_of_another_type_ends_one_entity_and_begins_the_next() -> None:
    gold = [["B-per", "B-loc"]]
    assert tagging_scores(gold, [["B-per", "I-loc"]], all_known(gold))["entity_f1"] == 1.0


def test_entities_end_with_their_sentence() -> None:
    gold = [["B-per"], ["B-per"]]
    assert tagging_scores(gold, [["B-per"], ["I-per"]], all_known(gold))["entity_f1"] == 1.0


def test_entity_scores_are_those_of_seqeval() -> None:
    from seqeval.metrics import f1_score, precision_score, recall_score

    gold = [["B-x", "I-x", "O", "B-y"], ["O", "I-y", "I-y"], ["B-x", "B-x"]]
    predicted = [["B-x", "I-x", "I-x", "B-y"], ["I-x", "I-y", "I-y"], ["B-x", "O"]]
    scores = tagging_scores(gold, predicted, all_known(gold))
    expected = [score(gold, predicted) for score in (precision_score, recall_score, f1_score)]
    assert [scores["entity_precision"], scores["entity_recall"], scores["entity_f1"]] == pytest.approx(expected)


def test_finding_no_entity_scores_zero() -> None:
    gold = [["B-per", "O"]]
    scores = tagging_scores(gold, [["O", "O"]], all_known(gold), [["x", "y"]])
    assert {scores[key] for key in ("entity_precision", "entity_recall", "entity_f1", "surface_f1")} == {0.0}


def test_surface_f1_counts_a_form_found_many_times_once() -> None:
    tokens = [["ann", "met", "bob"], ["ann", "ran"], ["ann"]]
    gold = [["B-per", "O", "B-per"], ["B-per", "O"], ["B-per"]]
    predicted = [["B-per", "O", "O"], ["B-per", "O"], ["O"]]
    scores = tagging_scores(gold, predicted, all_known(gold), tokens)
    assert scores["surface_f1"] == pytest.approx(2 / 3)  # sought ann, bob; found ann


def test_surface_f1_needs_one_place_where_the_form_is_right() -> None:
    tokens, gold = [["ann", "ann"]], [["B-per", "O"]]
    assert tagging_scores(gold, [["O", "B-per"]], all_known(gold), tokens)["surface_f1"] == 0.0


def test_surface_f1_reads_the_words_of_later_sentences() -> None:
    tokens, gold = [["x"], ["new", "york"], ["york"]], [["O"], ["B-loc", "I-loc"], ["B-loc"]]
    predicted = [["O"], ["B-loc", "I-loc"], ["O"]]
    assert tagging_scores(gold, predicted, all_known(gold), tokens)["surface_f1"] == pytest.approx(2 / 3)


def test_without_tokens_surface_f1_is_absent() -> None:
    assert "surface_f1" not in tagging_scores([["B-per"]], [["B-per"]], [[True]])


def test_a_label_never_predicted_has_f1_zero_and_no_warning() -> None:
    rows = {row["label"]: row for row in label_table(["a", "a", "b"], ["a", "a", "a"])}
    assert rows["b"] == {"label": "b", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}


def test_the_label_table_holds_precision_recall_and_support() -> None:
    row = label_table(["a", "a", "b"], ["a", "b", "b"])[1]
    assert row == {"label": "b", "precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1}


def test_a_label_only_predicted_has_support_zero() -> None:
    assert label_table(["a"], ["b"])[1]["support"] == 0


def test_confusion_has_gold_in_rows() -> None:
    assert confusion(["a", "a", "b"], ["a", "b", "b"], ["b", "a", "c"]).tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]


def test_the_tag_floor_gives_a_word_its_most_frequent_tag() -> None:
    tokens, labels = [["run", "run", "a"], ["run"]], [["V", "N", "D"], ["V"]]
    assert most_frequent_tag_floor(tokens, labels, [["run", "a"]]) == [["V", "D"]]


def test_the_tag_floor_gives_unknown_words_the_tag_of_words_seen_once() -> None:
    tokens = [["the", "the", "the", "cat", "dog", "ran"]]
    labels = [["D", "D", "D", "N", "N", "V"]]
    assert most_frequent_tag_floor(tokens, labels, [["the", "bird"]]) == [["D", "N"]]


def test_the_tag_floor_without_words_seen_once_uses_the_overall_tag() -> None:
    assert most_frequent_tag_floor([["a", "a", "b", "b", "a"]], [["D", "D", "N", "N", "D"]], [["c"]]) == [["D"]]


def test_the_tag_floor_breaks_ties_by_label_order() -> None:
    assert most_frequent_tag_floor([["run", "run"]], [["V", "N"]], [["run"]]) == [["N"]]


def test_the_tag_floor_keeps_case() -> None:
    assert most_frequent_tag_floor([["May", "may"]], [["N", "V"]], [["may", "May"]]) == [["V", "N"]]


def test_the_tag_floor_keeps_the_shape_of_test() -> None:
    assert most_frequent_tag_floor([["a"]], [["D"]], [[], ["a", "b"]]) == [[], ["D", "D"]]


def test_the_text_floor_learns_from_two_examples() -> None:
    assert tfidf_floor(["good film", "bad film"], ["pos", "neg"], ["a bad one", "Good"]) == ["neg", "pos"]


def test_the_text_floor_separates_three_labels() -> None:
    assert tfidf_floor(["red", "green", "blue"], ["r", "g", "b"], ["blue", "red", "green"]) == ["b", "r", "g"]


def test_the_text_floor_reads_one_letter_words_and_marks() -> None:
    assert tfidf_floor(["x ?", "y !"], ["ask", "tell"], ["z ?", "y"]) == ["ask", "tell"]


def test_the_text_floor_with_one_label_predicts_it() -> None:
    assert tfidf_floor(["good", "fine"], ["pos", "pos"], ["bad", "new"]) == ["pos", "pos"]


def test_the_text_floor_without_words_predicts_the_most_frequent_label() -> None:
    assert tfidf_floor(["", " ", ""], ["a", "b", "b"], ["word"]) == ["b"]


def test_the_text_floor_of_no_texts_is_empty() -> None:
    assert tfidf_floor(["good", "bad"], ["pos", "neg"], []) == []
