"""What a model was asked: every target's labels in the shape of the split's own."""

from models.config import MAIN
from pipeline.labeler import Answer
from pipeline.scoring import Split, by_target


def test_every_target_has_its_labels():
    answers = [Answer(["A", "B"], [0.9, 0.8], {"mood": ["glad"]}), Answer(["A"], [0.7], {"mood": ["sad"]})]
    assert by_target(answers) == {MAIN: [["A", "B"], ["A"]], "mood": [["glad"], ["sad"]]}


def test_a_sequence_of_no_words_has_no_labels():
    answers = [Answer([], []), Answer(["A"], [0.7], {"tag": ["s"]})]
    assert by_target(answers) == {MAIN: [[], ["A"]], "tag": [[], ["s"]]}


def test_lengths_are_those_of_words_or_of_steps():
    assert Split([["a", "b"], []], [], None).lengths == [2, 0]
    assert Split([[]], [], [[[1.0], [2.0], [3.0]]]).lengths == [3]
