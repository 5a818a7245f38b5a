import dataclasses

import pytest
import torch
from making import SMALL, batch_of, make_examples, make_network

from models.embed import CharacterEncoder, WordTable, length_groups
from models.network import build_network

LENGTHS = [7, 2, 1, 5, 5, 3]


@pytest.mark.parametrize("task", ["tagging", "classification"])
@pytest.mark.parametrize("pooling", ["final", "max", "mean"])
def test_logits_do_not_depend_on_batch_mates(task, pooling):
    network = make_network(dataclasses.replace(SMALL, pooling=pooling), task)
    examples = make_examples(LENGTHS, task)
    together = network(batch_of(examples, [0, 1, 2, 3, 4, 5]))
    for row, length in enumerate(LENGTHS):
        alone = network(batch_of(examples, [row]))
        ours = together[row, :length] if task == "tagging" else together[row]
        torch.testing.assert_close(ours, alone[0], atol=1e-12, rtol=0)


@pytest.mark.parametrize("task", ["tagging", "classification"])
def test_loss_and_gradients_of_a_batch_are_the_sums_over_its_sequences(task):
    examples, network = make_examples(LENGTHS, task), make_network(task=task)
    network.loss_sum(batch_of(examples, list(range(6)))).backward()
    together = [p.grad.clone() for p in network.parameters()]
    network.zero_grad()
    for row in range(6):
        network.loss_sum(batch_of(examples, [row])).backward()
    for ours, theirs in zip(together, (p.grad for p in network.parameters()), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)


def test_labels_at_padding_change_nothing():
    batch, network = batch_of(make_examples(LENGTHS), [0, 2]), make_network()
    changed = dataclasses.replace(batch, labels=torch.where(torch.arange(7) < batch.lengths[:, None], batch.labels, 3))
    assert torch.equal(network.loss_sum(batch), network.loss_sum(changed))


def test_probabilities_sum_to_one_at_each_real_step():
    batch = batch_of(make_examples(LENGTHS), [0, 1])
    sums = make_network()(batch).softmax(-1).sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums), atol=1e-12, rtol=0)


def test_a_distinct_word_encoded_once_equals_the_naive_way():
    network, examples = make_network(), make_examples(LENGTHS)
    batch = batch_of(examples, [0, 3, 4])
    encoder = network.inputs.chars
    once = encoder(batch.chars, batch.char_lengths)[batch.forms]
    for row, length in enumerate(batch.lengths.tolist()):
        for step in range(length):
            form = batch.forms[row, step]
            size = int(batch.char_lengths[form])
            alone = encoder(batch.chars[form : form + 1, :size], batch.char_lengths[form : form + 1])[0]
            torch.testing.assert_close(once[row, step], alone, atol=1e-12, rtol=0)


def test_the_backward_half_of_the_character_encoder_has_read_the_whole_word():
    encoder = CharacterEncoder(num_chars=9, char_size=4, hidden=3, dropout=0.0)
    words = torch.tensor([[2, 3, 4], [2, 3, 5]])
    ends = encoder(words, torch.tensor([3, 3]))
    assert not torch.allclose(ends[0, 3:], ends[1, 3:])


def test_the_backward_half_of_the_character_encoder_reads_from_the_end():
    encoder = CharacterEncoder(num_chars=9, char_size=4, hidden=3, dropout=0.0)
    encoder.back.load_state_dict(encoder.ahead.state_dict())
    ends = encoder(torch.tensor([[2, 3, 0], [3, 2, 0], [4, 5, 6], [6, 5, 4]]), torch.tensor([2, 2, 3, 3]))
    torch.testing.assert_close(ends[[0, 2], 3:], ends[[1, 3], :3])


def test_groups_of_words_cover_all_rows_in_order():
    lengths = torch.tensor([1, 1, 2, 3, 3, 3, 9, 20])
    rows = [row for group in length_groups(lengths) for row in range(8)[group]]
    assert rows == list(range(8))


def test_groups_of_words_hold_little_padding():
    lengths = torch.sort(torch.randint(1, 25, (500,))).values
    padded = sum(int(lengths[group].max()) * len(lengths[group]) for group in length_groups(lengths, waste=0.1))
    assert padded <= int(lengths.sum()) / 0.9 + 1


def test_frozen_vectors_are_not_trained():
    vectors = torch.randn(20, 6)
    network = build_network(dataclasses.replace(SMALL, tune_vectors=False), make_network().sizes, 0, vectors)
    network.loss_sum(batch_of(make_examples(LENGTHS), [0, 1])).backward()
    words = network.inputs.words
    assert words.weight.grad is None and torch.equal(torch.cat([words.weight, words.fixed]), vectors)


def test_fixed_rows_of_the_word_table_are_looked_up_like_the_others_and_get_no_gradient():
    table, vectors = WordTable(7, 3, num_fixed=2), torch.randn(7, 3)
    table.start_from(vectors)
    ids = torch.tensor([[0, 1, 4], [5, 6, 4]])
    assert torch.equal(table(ids), vectors[ids])
    table(ids).sum().backward()
    assert table.weight.grad[:, 0].tolist() == [0, 1, 0, 0, 2]
    assert [name for name, _ in table.named_parameters()] == ["weight"] and "fixed" in table.state_dict()


def test_the_vector_of_padding_is_zero():
    assert not WordTable(7, 3, num_fixed=2)(torch.tensor([0])).any()


def test_the_same_seed_gives_the_same_weights_and_leaves_the_generator_alone():
    state = torch.get_rng_state()
    first, second = make_network(), make_network()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert torch.equal(state, torch.get_rng_state())


def test_a_network_that_reads_nothing_is_refused():
    with pytest.raises(ValueError, match="word_size and char_hidden"):
        make_network(dataclasses.replace(SMALL, word_size=0, char_hidden=0))


@pytest.mark.parametrize("part", ["words", "chars"])
def test_words_alone_and_characters_alone_are_enough(part):
    config = dataclasses.replace(SMALL, **{"char_hidden": 0} if part == "words" else {"word_size": 0})
    assert make_network(config)(batch_of(make_examples(LENGTHS), [0, 1])).shape == (2, 7, 4)
