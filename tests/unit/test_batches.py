from dataclasses import replace

import numpy as np
import pytest
import torch
from making import make_examples

from models.config import UNKNOWN_ID
from pipeline.batches import WordDropout, evaluation_batches, make_batch, share_places, training_shares
from pipeline.examples import Examples, FormTable
from pipeline.plans import plan_epoch


def _lengths(number, seed=0):
    return np.random.default_rng(seed).integers(1, 40, number)


def _shares(examples, rank, world_size, first=0, word_dropout=0.5):
    plan = plan_epoch(examples.lengths, 60, seed=1, epoch=0)
    return list(
        training_shares(examples, plan, first=first, rank=rank, world_size=world_size, word_dropout=word_dropout, seed=(1, 0))
    )


def _sentences(shares, num_parts=1):
    return [
        tuple(share.word_ids[words[:length].numpy()].tolist())
        for share in shares
        for batch in share.batches(num_parts)
        for words, length in zip(batch.words, batch.lengths, strict=True)
    ]


@pytest.mark.parametrize("number", [1, 2, 5, 23, 40])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_every_example_is_seen_exactly_once_by_all_workers_together(number, world_size):
    examples = make_examples(_lengths(number).tolist())
    alone = _sentences(_shares(examples, 0, 1))
    together = [sentence for rank in range(world_size) for sentence in _sentences(_shares(examples, rank, world_size))]
    assert sorted(together) == sorted(alone) and len(alone) == number


@pytest.mark.parametrize("num_parts", [2, 3, 50])
def test_a_share_read_in_parts_has_the_same_sentences_with_the_same_words_dropped(num_parts):
    shares = _shares(make_examples(_lengths(23).tolist()), 1, 2, word_dropout=20.0)
    assert _sentences(shares, num_parts) == _sentences(shares)
    num_dropped = sum(word == UNKNOWN_ID for sentence in _sentences(shares) for word in sentence)
    assert 20 < num_dropped < sum(map(len, _sentences(shares)))


@pytest.mark.parametrize("number", [1, 3, 8, 29])
@pytest.mark.parametrize("num_parts", [4, 6])
def test_a_step_is_cut_into_the_same_parts_however_many_workers_share_them(number, num_parts):
    def parts(world_size):
        own = [share_places(number, rank, world_size, num_parts) for rank in range(world_size)]
        cut = [part.tolist() for places in own for part in np.array_split(places, num_parts // world_size)]
        return [part for part in cut if part]

    assert parts(1) == parts(2) == parts(num_parts)
    assert sorted(np.concatenate(parts(1))) == list(range(number))


@pytest.mark.parametrize("number", [1, 5, 23])
def test_every_worker_makes_the_same_number_of_steps(number):
    examples = make_examples(_lengths(number).tolist())
    assert len({len(_shares(examples, rank, 3)) for rank in range(3)}) == 1


def test_a_step_counts_the_labels_of_all_workers():
    examples = make_examples(_lengths(23).tolist())
    for shares in zip(*(_shares(examples, rank, 2) for rank in range(2)), strict=True):
        num_labels = sum(int(batch.lengths.sum()) for share in shares for batch in share.batches(1))
        assert all(share.num_targets == {"label": num_labels} for share in shares)


def test_going_on_in_the_middle_gives_the_steps_that_were_left():
    examples = make_examples(_lengths(23).tolist())
    assert _sentences(_shares(examples, 0, 1, first=2)) == _sentences(_shares(examples, 0, 1)[2:])


def test_the_rows_sent_between_workers_are_all_that_the_step_reads():
    examples = make_examples(_lengths(23).tolist())
    known = replace(examples.forms, word_ids=np.maximum(examples.forms.word_ids, UNKNOWN_ID + 1))
    examples = replace(examples, forms=known)  # so that unknown words come from word dropout alone
    for shares in zip(*(_shares(examples, rank, 2) for rank in range(2)), strict=True):
        batches = [batch for share in shares for batch in share.batches(1)]
        real = [words[:n] for batch in batches for words, n in zip(batch.words, batch.lengths, strict=True)]
        read = {shares[0].word_ids[word].item() for word in torch.cat(real)}
        assert all(np.array_equal(share.word_ids, shares[0].word_ids) for share in shares)
        assert read <= set(shares[0].word_ids.tolist())


@pytest.mark.parametrize(("chars", "capitalisation"), [(True, False), (False, True), (False, False)])
def test_a_batch_leaves_out_what_is_not_read(chars, capitalisation):
    examples = make_examples([5, 3])
    batch, whole = (
        make_batch(each, np.arange(2)) for each in (examples.only(chars=chars, capitalisation=capitalisation), examples)
    )
    assert torch.equal(batch.words, whole.words) and batch.chars.numel() == (whole.chars.numel() if chars else 0)
    assert batch.features.keys() == ({"capitalisation"} if capitalisation else set())


def test_dropped_words_are_unknown_and_keep_their_characters():
    examples = make_examples([5])
    every = WordDropout(rates=np.ones(int(examples.forms.word_ids.max()) + 1), drawn=np.full((1, 5), 0.99))
    batch = make_batch(examples, np.array([0]), every)
    assert batch.words.eq(1).all() and torch.equal(batch.chars, make_batch(examples, np.array([0])).chars)


def test_a_word_drops_out_the_likelier_the_rarer_it_is():
    words = np.repeat([2, 3, 4], [1, 3, 12])
    table = FormTable(np.arange(5, dtype=np.int32), *(np.zeros(6, dtype=np.int64) for _ in range(3)))
    examples = Examples(np.array([0, len(words)]), tokens=words.astype(np.int32), forms=table)
    dropout = WordDropout(WordDropout.rates_of(examples, 0.5), np.random.default_rng(1).random((20000, len(words))))
    unknown = (dropout.apply(np.tile(words, (20000, 1))) == 1).mean(0)
    for word, times in ((2, 1), (3, 3), (4, 12)):
        assert unknown[words == word] == pytest.approx(0.5 / (0.5 + times), abs=0.015)


def test_a_batch_holds_each_distinct_word_once():
    examples = make_examples([30, 30, 30])
    batch = make_batch(examples, np.array([0, 1, 2]))
    assert len(batch.chars) == len(np.unique(examples.tokens))


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_evaluation_asks_each_sequence_once(world_size):
    examples = make_examples(_lengths(17).tolist())
    rows = [row for rank in range(world_size) for part, _ in evaluation_batches(examples, 50, rank, world_size) for row in part]
    assert sorted(rows) == list(range(17))
