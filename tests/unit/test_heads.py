"""What stands on the recurrent layers: softmax, pooling, sums of losses."""

import pytest
import torch
from layers import assert_close

from models import ModelConfig
from models.heads import POOLINGS, CRFHead, Read, SequenceHead, TokenHead

LENGTHS = torch.tensor([4, 1, 6])
PLAIN = ModelConfig(dropout=0.0)


def make_read(padding=0.0):
    torch.manual_seed(0)
    outputs = torch.randn(3, 6, 5, dtype=torch.float64)
    for row, length in enumerate(LENGTHS.tolist()):
        outputs[row, length:] = padding
    return Read(outputs, torch.randn(3, 5, dtype=torch.float64), LENGTHS)


def _pooled(name, outputs, final):
    scores = {"max": outputs.max(0).values, "mean": outputs.mean(0), "final": final}
    return scores[name]


@pytest.mark.parametrize("name", ["final", "max", "mean"])
def test_pooling_equals_that_of_each_sequence_alone(name):
    read = make_read()
    pooled = POOLINGS[name](5)(read)
    for row, length in enumerate(LENGTHS.tolist()):
        assert_close(pooled[row], _pooled(name, read.outputs[row, :length], read.final[row]))


def test_attention_is_a_softmax_over_the_real_steps():
    read, pooling = make_read(), POOLINGS["attention"](5).double()
    pooled = pooling(read)
    for row, length in enumerate(LENGTHS.tolist()):
        real = read.outputs[row, :length]
        scores = torch.tanh(real @ pooling.hidden.weight.T + pooling.hidden.bias) @ pooling.score.weight[0]
        weights = scores.exp() / scores.exp().sum()
        assert_close(pooled[row], weights @ real)


def test_max_pooling_does_not_take_the_zeros_of_padding_for_outputs():
    read = make_read()
    lower = Read(read.outputs - 10 * (read.outputs != 0), read.final, LENGTHS)
    assert (POOLINGS["max"](5)(lower) < 0).all()


def test_the_loss_is_the_sum_over_the_real_steps_whatever_the_padding_holds():
    head, read = TokenHead(5, 4, PLAIN).double(), make_read()
    labels = torch.randint(4, (3, 6))
    logits = head(read)
    expected = sum(
        torch.nn.functional.cross_entropy(logits[row, :length], labels[row, :length], reduction="sum")
        for row, length in enumerate(LENGTHS.tolist())
    )
    assert_close(head.loss_sum(logits, labels, LENGTHS), expected)
    labels[0, 4:], labels[1, 1:] = 3, -100
    assert_close(head.loss_sum(logits, labels, LENGTHS), expected)


def test_predictions_are_the_likeliest_labels_and_their_probabilities():
    head, read = TokenHead(5, 4, PLAIN).double(), make_read()
    logits = head(read)
    prediction, probabilities = head.predict(logits, LENGTHS), logits.exp() / logits.exp().sum(-1, keepdim=True)
    assert torch.equal(prediction.labels, probabilities.argmax(-1))
    assert_close(prediction.probabilities, probabilities.max(-1).values)
    assert_close(logits.softmax(-1).sum(-1), torch.ones(3, 6, dtype=torch.float64))


def test_a_crf_head_predicts_whole_sequences_with_their_marginals():
    head, read = CRFHead(5, 4, PLAIN).double(), make_read()
    torch.nn.init.normal_(head.crf.transitions, std=3.0)
    logits = head(read)
    prediction = head.predict(logits, LENGTHS)
    assert torch.equal(prediction.labels, head.crf.best_path(logits, LENGTHS))
    assert not torch.equal(prediction.labels, logits.argmax(-1))
    marginals = head.crf.marginals(logits, LENGTHS)
    assert_close(prediction.probabilities, marginals.gather(2, prediction.labels[:, :, None])[:, :, 0])


def test_a_crf_refuses_label_smoothing():
    head, read = CRFHead(5, 4, PLAIN).double(), make_read()
    with pytest.raises(ValueError, match=r"label_smoothing is 0\.1"):
        head.loss_sum(head(read), torch.zeros(3, 6, dtype=torch.long), LENGTHS, 0.1)


def test_a_dense_layer_stands_before_the_softmax_where_asked_for():
    head, read = SequenceHead(5, 4, ModelConfig(dense=7, dropout=0.0)).double(), make_read()
    hidden = torch.relu(read.final @ head.dense.weight.T + head.dense.bias)
    assert_close(head(read), hidden @ head.output.weight.T + head.output.bias)


def test_the_head_drops_its_inputs_in_training():
    head, read = TokenHead(5, 4, ModelConfig(dropout=0.9)).double(), make_read()
    torch.manual_seed(0)
    assert not torch.equal(head.train()(read), head.eval()(read))
