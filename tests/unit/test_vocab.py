"""Vocabularies: which words get a number, which number, and what the rest shares."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models.config import IGNORED, UNKNOWN_ID
from pipeline.config import EncodeConfig
from pipeline.vocab import RESERVED, Vocab


def build(words: str, labels: str = "x", **config: object) -> Vocab:
    forms = pl.DataFrame({"form": words.split()}).group_by("form").len()
    answers = pl.DataFrame({"label": labels.split()}).group_by("label").len()
    return Vocab.build(forms, answers, EncodeConfig(**config))


def test_words_stand_by_count_then_by_text():
    assert build("b a c a b a d c").words == (*RESERVED, "a", "b", "c", "d")


def test_rare_words_share_the_unknown_id():
    vocab = build("a a b", min_count=2)
    assert vocab.words == (*RESERVED, "a")
    assert vocab.encode_forms(pl.Series(["b", "never seen"])).word_ids.tolist() == [UNKNOWN_ID, UNKNOWN_ID]


def test_a_cap_keeps_the_most_frequent_words():
    assert build("c b a b a a", max_words=2).words == (*RESERVED, "a", "b")


def test_words_are_counted_in_lower_case_and_characters_as_they_are():
    vocab = build("Ab ab AB")
    assert vocab.words == (*RESERVED, "ab")
    assert set(vocab.chars) == {*RESERVED, "A", "a", "B", "b"}


def test_case_is_kept_where_asked():
    assert set(build("Ab ab", lowercase=False).words) == {*RESERVED, "Ab", "ab"}


def test_a_word_written_like_a_reserved_entry_does_not_take_its_row():
    vocab = build("<pad> <pad> a")
    assert vocab.words == (*RESERVED, "a")


def test_further_words_come_after_those_of_train_and_once():
    assert build("b a a").with_words(["a", "z", "z"]).words == (*RESERVED, "a", "b", "z")


def test_a_label_that_train_does_not_have_gets_no_number():
    vocab = build("a", labels="y x x")
    assert vocab.labels == ("x", "y")
    assert vocab.encode_labels(pl.Series(["y", "new", "x"])).tolist() == [1, IGNORED, 0]


def test_characters_are_read_up_to_the_limit():
    forms = build("abc", max_word_length=2).encode_forms(pl.Series(["abc", "c", "ba"]))
    assert forms.char_offsets.tolist() == [0, 2, 3, 5]


@pytest.mark.parametrize("word", ["né", "👍🏽", "x" * 1000, " "])
def test_every_word_has_a_character_at_least(word):
    forms = build("a").encode_forms(pl.Series([word]))
    assert len(forms.char_ids) == forms.char_offsets[-1] >= 1


def test_what_is_saved_is_what_is_loaded(tmp_path):
    vocab = replace(build('a "q" \\ é', labels="x y"), contractions={"da": ["de", "a"]})
    vocab.save(tmp_path / "vocab.json")
    loaded = Vocab.load(tmp_path / "vocab.json")
    assert loaded == vocab
    np.testing.assert_array_equal(loaded.encode_forms(pl.Series(["é"])).word_ids, vocab.encode_forms(pl.Series(["é"])).word_ids)


def test_a_vocabulary_that_was_used_is_saved_as_it_was(tmp_path):
    vocab = Vocab(words=(*RESERVED, "um"), chars=(*RESERVED, "u", "m"), labels=("A",), lowercase=True, max_word_length=9)
    vocab.encode_forms(pl.Series(["um"]))
    vocab.save(tmp_path / "vocab.json")
    assert Vocab.load(tmp_path / "vocab.json") == vocab
