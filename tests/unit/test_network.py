import dataclasses

import numpy as np
import pytest
import torch
from making import SMALL, batch_of, loss_of, make_examples, make_network

from models import ModelConfig, Sizes, build_network
from models.config import Setting, Target, drop_idle
from models.dropout import Noise
from models.embed import WordTable, build_characters
from pipeline.batches import make_batch
from pipeline.examples import Examples

LENGTHS = [7, 2, 1, 5, 5, 3]
NETWORKS = [
    {"cell": "lstm", "pooling": "final"},
    {"cell": "gru", "reset_after": False, "pooling": "max", "char_encoder": "gru"},
    {"cell": "gru", "hidden": (5, 5), "residual": True, "layer_norm": True, "pooling": "attention"},
    {"cell": "simple_rnn", "activation": "relu", "merge": "sum", "char_encoder": "cnn", "pooling": "mean"},
    {"bidirectional": False, "go_backwards": True, "learned_state": True, "crf": True},
    {"hidden": (5, 4, 3), "bptt_steps": 2, "features": {"capitalisation": 3}, "merge": "mul", "dense": 3},
]


@pytest.mark.parametrize("task", ["tagging", "classification"])
@pytest.mark.parametrize("options", NETWORKS, ids=str)
def test_logits_do_not_depend_on_batch_mates(task, options):
    network = make_network(drop_idle(dataclasses.replace(SMALL, **options), Setting(task)), task)
    examples = make_examples(LENGTHS, task)
    together = network(batch_of(examples, [0, 1, 2, 3, 4, 5]))["label"]
    for row, length in enumerate(LENGTHS):
        alone = network(batch_of(examples, [row]))["label"]
        ours = together[row, :length] if task == "tagging" else together[row]
        torch.testing.assert_close(ours, alone[0], atol=1e-12, rtol=0)


@pytest.mark.parametrize("task", ["tagging", "classification"])
def test_loss_and_gradients_of_a_batch_are_the_sums_over_its_sequences(task):
    examples, network = make_examples(LENGTHS, task), make_network(task=task)
    loss_of(network, batch_of(examples, list(range(6)))).backward()
    together = [p.grad.clone() for p in network.parameters()]
    network.zero_grad()
    for row in range(6):
        loss_of(network, batch_of(examples, [row])).backward()
    for ours, theirs in zip(together, (p.grad for p in network.parameters()), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)


def test_labels_at_padding_change_nothing():
    batch, network = batch_of(make_examples(LENGTHS), [0, 2]), make_network()
    labels = batch.targets["label"]
    changed = dataclasses.replace(batch, targets={"label": torch.where(torch.arange(7) < batch.lengths[:, None], labels, 3)})
    assert torch.equal(loss_of(network, batch), loss_of(network, changed))


def test_probabilities_sum_to_one_at_each_real_step():
    batch = batch_of(make_examples(LENGTHS), [0, 1])
    sums = make_network()(batch)["label"].softmax(-1).sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums), atol=1e-12, rtol=0)


def make_encoder(kind, **options):
    torch.manual_seed(0)
    config = ModelConfig(char_size=4, char_hidden=3, char_encoder=kind, input_dropout=0.0, **options)
    return build_characters(config, num_chars=9)


@pytest.mark.parametrize("kind", ["lstm", "gru", "cnn"])
def test_a_distinct_word_encoded_once_equals_the_naive_way(kind):
    network, examples = make_network(dataclasses.replace(SMALL, char_encoder=kind)), make_examples(LENGTHS)
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
    encoder = make_encoder("lstm")
    words = torch.tensor([[2, 3, 4], [2, 3, 5]])
    ends = encoder(words, torch.tensor([3, 3]))
    assert not torch.allclose(ends[0, 3:], ends[1, 3:])


def test_the_backward_half_of_the_character_encoder_reads_from_the_end():
    encoder = make_encoder("lstm")
    encoder.back.load_state_dict(encoder.ahead.state_dict())
    ends = encoder(torch.tensor([[2, 3, 0], [3, 2, 0], [4, 5, 6], [6, 5, 4]]), torch.tensor([2, 2, 3, 3]))
    torch.testing.assert_close(ends[[0, 2], 3:], ends[[1, 3], :3])


@pytest.mark.parametrize("encoder", ["lstm", "gru"])
def test_characters_without_padding_equal_padded_ones_and_so_do_their_gradients(encoder):
    network = make_network(dataclasses.replace(SMALL, char_hidden=3, char_encoder=encoder, input_dropout=0.3)).train()
    lengths = torch.tensor([1, 1, 2, 2, 5, 9])
    chars = torch.randint(2, 9, (6, 9))
    noise = Noise(3, torch.arange(6))
    results = []
    for path in (network.inputs.chars._packed, network.inputs.chars._padded):
        network.zero_grad()
        encoded = path(chars, lengths, noise)
        (encoded * torch.arange(1, 1 + encoded.numel()).view_as(encoded)).sum().backward()
        results.append([encoded, *(p.grad for p in network.inputs.chars.parameters())])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_frozen_vectors_are_not_trained():
    vectors = torch.randn(20, 6)
    network = build_network(dataclasses.replace(SMALL, tune_vectors=False), make_network().sizes, 0, vectors)
    loss_of(network, batch_of(make_examples(LENGTHS), [0, 1])).backward()
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
    config = dataclasses.replace(SMALL, **{"char_hidden": 0, "char_size": None} if part == "words" else {"word_size": 0})
    assert make_network(config)(batch_of(make_examples(LENGTHS), [0, 1]))["label"].shape == (2, 7, 4)


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_a_convolution_over_characters_equals_one_over_each_word_by_hand(width):
    encoder = make_encoder("cnn", char_width=width)
    chars, lengths = torch.tensor([[3, 0, 0, 0], [2, 3, 0, 0], [4, 5, 6, 7]]), torch.tensor([1, 2, 4])
    encoded = encoder(chars, lengths)
    for row, length in enumerate(lengths.tolist()):
        word = encoder.table.embedding.weight[chars[row, :length]]
        left = width // 2
        padded = torch.cat([torch.zeros(left, 4), word, torch.zeros(width, 4)])
        windows = torch.stack([padded[t : t + width].T for t in range(length)])  # (length, size, width)
        answers = torch.einsum("tsw,fsw->tf", windows, encoder.filters.weight) + encoder.filters.bias
        torch.testing.assert_close(encoded[row], answers.max(0).values)


@pytest.mark.parametrize("kind", ["lstm", "gru", "cnn"])
def test_the_same_word_gets_the_same_vector_twice_in_a_sentence_and_in_another_batch(kind):
    network = make_network(dataclasses.replace(SMALL, char_encoder=kind, word_size=0)).train()
    examples = make_examples([3, 4])
    examples = dataclasses.replace(examples, tokens=np.array([5, 9, 5, 7, 7, 5, 1], np.int32))
    first, second = (network.inputs(batch_of(examples, [row])) for row in (0, 1))
    torch.testing.assert_close(first[0, 0], first[0, 2], atol=0, rtol=0)
    torch.testing.assert_close(first[0, 0], second[0, 2], atol=1e-12, rtol=0)
    assert not torch.allclose(first[0, 0], first[0, 1])


def test_a_further_column_is_read_beside_the_word():
    examples = dataclasses.replace(make_examples([3]), per_token={"tag": np.array([2, 0, 3], np.int32)})
    sizes = Sizes("tagging", 20, 12, 4, features={"tag": 5})
    network = build_network(dataclasses.replace(SMALL, features={"tag": 2}), sizes)
    read = network.inputs(batch_of(examples, [0]))[0, :, -2:]
    assert torch.equal(read, network.inputs.features[0].weight[[2, 0, 3]]) and read[1].eq(0).all()


def test_several_heads_share_the_layers_and_each_has_its_loss():
    examples = make_examples([3, 5])
    examples = dataclasses.replace(
        examples,
        per_token={"xpos": np.array([2, 3, 4, 2, 1, 4, 3, 2], np.int32)},
        per_sequence={"intent": np.array([3, 1], np.int32)},
    )
    sizes = Sizes("tagging", 20, 12, 4, targets={"xpos": Target("tagging", 3), "intent": Target("classification", 2)})
    config = dataclasses.replace(SMALL, heads={"xpos": 0.5, "intent": 0.25}, pooling="mean")
    network = build_network(config, sizes)
    batch = batch_of(examples, [0, 1])
    assert batch.targets["xpos"].tolist()[1] == [0, -100, 2, 1, 0] and batch.targets["intent"].tolist() == [1, -100]
    logits = network(batch)
    sums = network.loss_sums(logits, batch)
    assert {name: tuple(scores.shape) for name, scores in logits.items()} == {
        "label": (2, 5, 4),
        "xpos": (2, 5, 3),
        "intent": (2, 2),
    }
    assert network.weights == {"label": 1.0, "xpos": 0.5, "intent": 0.25}
    torch.testing.assert_close(sums["intent"], torch.nn.functional.cross_entropy(logits["intent"][:1], torch.tensor([1])))
    assert set(network.predict(logits, batch.lengths)) == {"label", "xpos", "intent"}


def test_numbers_go_through_a_linear_layer_in_place_of_the_embedding():
    values = np.random.default_rng(0).normal(size=(7, 2)).astype(np.float32)
    examples = Examples(np.array([0, 3, 7]), np.array([1, 0], np.int32), values=values)
    network = build_network(ModelConfig(word_size=6, hidden=(5,)), Sizes("classification", 0, 0, 2, vector_size=2))
    batch = batch_of(examples, [0, 1])
    expected = torch.from_numpy(values[3:]) @ network.inputs.values.weight.T + network.inputs.values.bias
    torch.testing.assert_close(network.inputs(batch)[1], expected)
    assert network(batch)["label"].shape == (2, 2)


def test_a_tagger_that_goes_backwards_labels_each_word_at_its_place():
    config = dataclasses.replace(SMALL, bidirectional=False, go_backwards=True)
    network, examples = make_network(config), make_examples(LENGTHS)
    logits = network(batch_of(examples, [0, 3]))["label"]
    cut = dataclasses.replace(examples, tokens=np.where(np.arange(23) == 0, 3, examples.tokens).astype(np.int32))
    changed = network(batch_of(cut, [0, 3]))["label"]
    assert torch.equal(logits[0, 1:], changed[0, 1:]) and not torch.equal(logits[0, 0], changed[0, 0])


def test_only_the_recurrence_brings_a_gradient_to_outputs_before_the_last():
    config = dataclasses.replace(SMALL, bidirectional=False, pooling="final")
    network, examples = make_network(config, "classification"), make_examples([6], "classification")
    kept = []
    network.rnn.register_forward_hook(lambda _module, _inputs, result: kept.append(result[0]) or result[0].retain_grad())
    loss_of(network, batch_of(examples, [0])).backward()
    assert kept[0].grad[0, :-1].eq(0).all() and kept[0].grad[0, -1].ne(0).any()
    assert network.inputs.words.weight.grad.abs().sum(1).count_nonzero() > 1


@pytest.mark.parametrize(("rate", "part"), [("input_dropout", "input_dropout"), ("dropout", "heads.0.dropout")])
def test_masks_follow_from_the_batchs_seed_and_keys_alone(rate, part):
    network, examples = make_network(dataclasses.replace(SMALL, **{rate: 0.5})).train(), make_examples(LENGTHS)
    seen = []
    network.get_submodule(part).register_forward_hook(lambda _m, inputs, result: seen.append((result / inputs[0]).detach()))
    network(make_batch(examples, np.array([0, 3, 4]), seed=9))
    network(make_batch(examples, np.array([4, 1]), seed=9))
    network(make_batch(examples, np.array([4, 1]), seed=10))
    whole, part_of_it, other = seen
    torch.testing.assert_close(whole[2, :5], part_of_it[0, :5], equal_nan=True)
    assert not torch.allclose(part_of_it[0, :5], other[0, :5], equal_nan=True)
