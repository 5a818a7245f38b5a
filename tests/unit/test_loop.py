import dataclasses
import hashlib
import math
from collections import Counter

import numpy as np
import pytest
import torch
from making import SMALL, loss_of, make_examples, make_network

from models import build_network
from models.config import IGNORED, Target
from pipeline import failpoints, loop, memory
from pipeline.batches import make_batch, training_shares
from pipeline.config import TrainConfig
from pipeline.errors import DivergedError, InfrastructureError
from pipeline.gradients import has_bfloat16
from pipeline.loop import Training, evaluate, fit, learning_rate
from pipeline.messages import EpochResult
from pipeline.plans import plan_epoch
from pipeline.spans import BioLabels

CPU = torch.device("cpu")
CONFIG = TrainConfig(epochs=3, batch_tokens=40, patience=0, precision="float64", word_dropout=0.2, average=0.9)
DROPPING = dataclasses.replace(SMALL, input_dropout=0.3, dropout=0.3, recurrent_dropout=0.2)


def _data(task="tagging"):
    rng = np.random.default_rng(5)
    return [make_examples(rng.integers(1, 12, number).tolist(), task, seed=number) for number in (23, 9)]


def _fit(training, bio=None, task="tagging"):
    return list(fit(training, *_data(task), bio, CPU))


def _epochs(results):
    return [result.metrics for result in results if isinstance(result, EpochResult)]


def _digest(training):
    tensors, _ = training.state()
    return hashlib.sha256(b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))).hexdigest()


@pytest.mark.parametrize("task", ["tagging", "classification"])
def test_training_lowers_the_loss(task):
    config = dataclasses.replace(CONFIG, epochs=15, lr=0.02, average=0.0, word_dropout=0.0)
    losses = [row["train/loss"] for row in _epochs(_fit(Training(make_network(task=task), config), task=task))]
    assert losses[-1] < 0.85 * losses[0]


def test_a_network_learns_from_how_words_are_written():
    config = dataclasses.replace(CONFIG, epochs=15, lr=0.02, average=0.0, word_dropout=0.0)
    network = make_network(dataclasses.replace(SMALL, word_size=0, char_hidden=0, char_size=None, features={"capitalisation": 3}))
    losses = [row["train/loss"] for row in _epochs(_fit(Training(network, config)))]
    assert losses[-1] < 0.99 * losses[0]


@pytest.mark.parametrize("task", ["tagging", "classification"])
def test_a_step_follows_the_gradient_of_its_mean_loss_per_label(task):
    config = dataclasses.replace(CONFIG, word_dropout=0.0, clip_norm=1e9)
    training, (train, val) = Training(make_network(task=task), config), _data(task)
    step = next(fit(training, train, val, None, CPU))
    rows = plan_epoch(train.lengths, config.batch_tokens, config.seed, 0)[0]
    alone = make_network(task=task)
    mean = loss_of(alone, make_batch(train, rows)) / (train.lengths[rows].sum() if task == "tagging" else len(rows))
    mean.backward()
    assert step.loss == pytest.approx(mean.item(), rel=1e-12)
    ours, theirs = (dict(network.named_parameters()) for network in (training.network, alone))
    table = theirs.pop("inputs.words.weight").grad
    for name, parameter in theirs.items():
        torch.testing.assert_close(ours[name].grad, parameter.grad, rtol=1e-9, atol=1e-12)
    share = next(training_shares(train, [rows], first=0, rank=0, world_size=1, word_dropout=0.0, seed=(0,)))
    word_ids = torch.from_numpy(share.word_ids)
    of_words = training.optimizer.gradient[-word_ids.numel() * table.shape[1] :].view(-1, table.shape[1])
    trained = word_ids < len(table)
    torch.testing.assert_close(of_words[trained], table[word_ids[trained]], rtol=1e-9, atol=1e-12)


needs_bfloat16 = pytest.mark.skipif(not has_bfloat16(CPU), reason="this processor does not multiply in bfloat16")


@needs_bfloat16
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_bfloat16_rounds_what_an_lstm_multiplies_in_training_alone_and_leaves_its_weights_and_scores_whole(cell):
    losses, scores = {}, {}
    for precision in ("float32", "bfloat16"):
        network = make_network(dataclasses.replace(SMALL, cell=cell)).float()
        training, (train, val) = Training(network, dataclasses.replace(CONFIG, precision=precision)), _data()
        scores[precision] = evaluate(network, val, None, CPU)["loss"]
        losses[precision] = next(fit(training, train, val, None, CPU)).loss
        assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert scores["bfloat16"] == scores["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=1e-2)
    assert (losses["bfloat16"] != losses["float32"]) is (cell == "lstm")


def test_a_processor_without_bfloat16_trains_in_float32_and_says_so(monkeypatch, caplog):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    losses = []
    for precision in ("float32", "bfloat16"):
        training, (train, val) = Training(make_network().float(), dataclasses.replace(CONFIG, precision=precision)), _data()
        losses.append(next(fit(training, train, val, None, CPU)).loss)
    assert losses[0] == losses[1]
    assert [record.message for record in caplog.records] == [
        "train.precision is bfloat16, in which this cpu does not multiply; it trains in float32"
    ]


def test_a_gradient_is_no_longer_than_allowed():
    training, (train, val) = Training(make_network(), dataclasses.replace(CONFIG, clip_norm=0.01)), _data()
    next(fit(training, train, val, None, CPU))
    assert training.optimizer.gradient.norm().item() == pytest.approx(0.01, rel=1e-3)


def test_what_is_evaluated_and_kept_is_the_running_average_of_the_weights():
    training = Training(make_network(DROPPING), dataclasses.replace(CONFIG, epochs=1, average=0.9))
    parameters = list(training.network.parameters())
    expected = [p.detach().clone() for p in parameters]
    for result in fit(training, *_data(), None, CPU):
        if not isinstance(result, EpochResult):
            decay = min(0.9, result.step / (9 + result.step))  # begins as a mean of the steps so far
            training.optimizer.settle()
            expected = [decay * a + (1 - decay) * p.detach() for a, p in zip(expected, parameters, strict=True)]
        else:
            loss = result.metrics["val/loss"]
    for ours, theirs in zip(parameters, expected, strict=True):
        torch.testing.assert_close(ours.detach(), theirs, atol=1e-12, rtol=0)
    assert evaluate(training.network, _data()[1], None, CPU)["loss"] == loss


def test_nothing_is_dropped_where_a_network_is_evaluated():
    network = make_network(DROPPING).train()
    assert evaluate(network, _data()[1], None, CPU) == evaluate(network.train(), _data()[1], None, CPU)


@pytest.mark.parametrize("stop_after", [1, 4, 7, 12])
def test_a_resumed_training_equals_an_unbroken_one_to_the_bit(stop_after):
    whole = Training(make_network(DROPPING), CONFIG)
    _fit(whole)
    first = Training(make_network(DROPPING), CONFIG)
    steps = fit(first, *_data(), None, CPU)
    for _ in range(stop_after):
        next(steps)
    tensors, progress = first.state()
    second = Training(make_network(DROPPING), CONFIG)
    second.restore({name: value.clone() for name, value in tensors.items()}, dict(progress))
    _fit(second)
    assert _digest(second) == _digest(whole)


def _trained(**changes):
    training = Training(make_network(DROPPING), dataclasses.replace(CONFIG, **changes))
    rows = _epochs(_fit(training))
    return [row["train/loss"] for row in rows], training.network.state_dict()


@pytest.mark.parametrize("num_parts", [2, 3, 50])
def test_a_step_read_in_parts_is_the_step(num_parts):
    (losses, weights), (whole_losses, whole) = _trained(accumulate=num_parts), _trained()
    assert losses == pytest.approx(whole_losses, rel=1e-12)
    for name, value in whole.items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=1e-12)


def _with_failpoints(monkeypatch, plan):
    monkeypatch.setenv("UNROLL_FAILPOINTS", plan)
    monkeypatch.setattr(failpoints, "_passed", Counter())


def _watch_parts(monkeypatch):
    seen, make = [], loop.Share.batches
    monkeypatch.setattr(loop.Share, "batches", lambda share, num_parts=1: seen.append(num_parts) or make(share, num_parts))
    return seen


def test_a_step_that_memory_does_not_hold_is_read_in_parts_and_says_so(monkeypatch, caplog):
    whole_losses, whole = _trained()
    seen = _watch_parts(monkeypatch)
    _with_failpoints(monkeypatch, "batch read@3=exhaust memory")
    losses, weights = _trained()
    assert losses == pytest.approx(whole_losses, rel=1e-12)
    assert all(torch.allclose(weights[name], value, rtol=0, atol=1e-12) for name, value in whole.items())
    assert seen[:5] == [1, 1, 1, 2, 1] and seen.count(2) == 1
    assert "epoch 1, step 3: memory does not hold" in caplog.text and "read again in 2 parts" in caplog.text


def test_a_step_that_memory_does_not_hold_in_parts_either_names_its_longest_example_and_the_params(monkeypatch):
    _with_failpoints(monkeypatch, "batch read@3=exhaust memory; batch read@4=exhaust memory")
    with pytest.raises(
        InfrastructureError,
        match=r"step 3: .*is example \d+ of train, of \d+; fix: lower train.batch_tokens, raise train.accumulate to 4,",
    ):
        _trained()


def test_a_batch_larger_than_free_memory_is_read_in_parts_before_it_is_tried(monkeypatch, caplog):
    seen = _watch_parts(monkeypatch)
    monkeypatch.setattr(memory, "free_bytes", lambda: 30_000)
    losses, _ = _trained()
    monkeypatch.undo()
    assert losses == pytest.approx(_trained()[0], rel=1e-12)
    assert seen[0] == 1 and max(seen) > 1 and not caplog.text


def test_a_training_that_is_asked_to_stop_stops_after_that_step_and_goes_on_to_the_bit():
    whole = Training(make_network(DROPPING), CONFIG)
    _fit(whole)
    first, asked = Training(make_network(DROPPING), CONFIG), iter([False, False, False, True])
    results = list(fit(first, *_data(), None, CPU, must_stop=lambda: next(asked)))
    assert [result.is_stopped for result in results] == [False, False, False, True]
    tensors, progress = first.state()
    second = Training(make_network(DROPPING), CONFIG)
    second.restore({name: value.clone() for name, value in tensors.items()}, dict(progress))
    _fit(second)
    assert _digest(second) == _digest(whole)


def test_one_example_trains():
    training = Training(make_network(), CONFIG)
    alone, val = make_examples([4]), _data()[1]
    rows = _epochs(fit(training, alone, val, None, CPU))
    assert len(rows) == 3 and all(math.isfinite(row["train/loss"]) for row in rows)


def test_at_the_end_the_network_holds_the_best_epochs_weights():
    training = Training(make_network(), dataclasses.replace(CONFIG, lr=0.1, decay="none", average=0.0, epochs=6, monitor="loss"))
    losses = [row["val/loss"] for row in _epochs(_fit(training))]
    assert min(losses) < losses[-1]
    assert evaluate(training.network, _data()[1], None, CPU)["loss"] == min(losses)


def test_of_equal_scores_the_lower_loss_is_the_best():
    config = dataclasses.replace(CONFIG, lr=1e-6, decay="none", warmup=0.0, average=0.0, epochs=4, seed=2)
    training = Training(make_network(), config)
    rows = _epochs(_fit(training))
    assert len({row["val/accuracy"] for row in rows}) == 1
    assert training.progress.best_epoch == 1 + min(range(4), key=lambda epoch: rows[epoch]["val/loss"]) > 1


def test_training_stops_early_when_the_score_no_longer_rises():
    config = dataclasses.replace(CONFIG, epochs=50, patience=2, lr=1e-30)
    assert len(_epochs(_fit(Training(make_network(), config)))) == 3


def test_a_loss_that_is_no_number_stops_before_the_update():
    network = make_network()
    with torch.no_grad():
        network.heads[0].output.bias[0] = math.nan
    training = Training(network, CONFIG)
    before = [p.clone() for p in network.rnn.parameters()]
    with pytest.raises(DivergedError, match=r"step 1: the loss is nan.*examples \[.*fix:"):
        _fit(training)
    assert all(torch.equal(a, b) for a, b in zip(before, network.rnn.parameters(), strict=True))


def test_the_rate_climbs_then_falls_to_nothing():
    config = TrainConfig(lr=1.0, warmup=0.2, decay="cosine")
    assert [learning_rate(config, done) for done in (0.1, 0.2, 1.0)] == [0.5, 1.0, 0.0]


def test_a_label_that_train_does_not_have_counts_as_an_error_and_carries_no_loss():
    examples = make_examples([4])
    unseen = dataclasses.replace(examples, labels=np.full(4, IGNORED, np.int32))
    assert evaluate(make_network(), unseen, None, CPU) == {"loss": 0.0, "accuracy": 0.0}


def test_entity_f1_is_reported_for_bio_labels():
    bio = BioLabels.of(("O", "B-x", "I-x", "B-y"))
    assert "entity_f1" in evaluate(make_network(), _data()[1], bio, CPU)


def test_frozen_vectors_are_the_same_bytes_after_training_and_tuned_ones_are_not():
    vectors = torch.randn(20, 6, dtype=torch.float64)
    for tune in (False, True):
        sizes = make_network().sizes
        network = build_network(dataclasses.replace(SMALL, tune_vectors=tune), sizes, 3, vectors).double()
        before = network.inputs.words.weight.detach().numpy().tobytes()
        _fit(Training(network, dataclasses.replace(CONFIG, weight_decay=0.1)))
        assert (network.inputs.words.weight.detach().numpy().tobytes() == before) is not tune
        assert torch.equal(network.inputs.words.fixed, vectors[-6:].float().double())


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_a_further_targets_loss_is_a_mean_over_its_labels_times_its_weight(rate):
    train, val = _data()
    train, val = (dataclasses.replace(part, per_sequence={"mood": np.full(len(part), 2, np.int32)}) for part in (train, val))
    sizes = dataclasses.replace(make_network().sizes, targets={"mood": Target("classification", 3)})
    network = build_network(dataclasses.replace(SMALL, heads={"mood": rate}), sizes, 3).double()
    step = next(fit(Training(network, dataclasses.replace(CONFIG, word_dropout=0.0, lr=1e-12)), train, val, None, CPU))
    rows = plan_epoch(train.lengths, CONFIG.batch_tokens, CONFIG.seed, 0)[0]
    batch = make_batch(train, rows)
    sums = network.loss_sums(network(batch), batch)
    expected = sums["label"] / train.lengths[rows].sum() + rate * sums["mood"] / len(rows)
    assert step.loss == pytest.approx(expected.item(), rel=1e-9)
    assert "mood_accuracy" in evaluate(network, val, None, CPU)


@pytest.mark.parametrize(("num_neighbours", "num_parts"), [(1, 2), (4, 8)])
def test_workers_of_one_machine_reckon_with_their_part_of_its_memory(monkeypatch, num_neighbours, num_parts):
    monkeypatch.setattr(memory, "free_bytes", lambda: 1000)
    model = memory.MemoryModel(num_neighbours)
    model.bytes_per_word = 10.0
    assert model.num_parts(100, 1) == num_parts
