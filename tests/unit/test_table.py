import pytest

from models import GRU, LSTM, Bidirectional, ModelConfig, SimpleRNN, Sizes, Stacked, build_network, summary
from models.config import Target
from models.table import lines_of


def test_the_lectures_classifier_has_as_many_parameters_as_keras_and_torch_say():
    config = ModelConfig(word_size=64, char_hidden=0, cell="lstm", hidden=(128,), bidirectional=False)
    network = build_network(config, Sizes("classification", num_words=1000, num_chars=0, num_labels=10))
    lines = {line.name: line for line in lines_of(network)}
    assert [line.keras for line in lines.values() if line.keras] == [64_000, 98_816, 1_290]
    text = summary(network)
    assert "Keras's count: 164,106" in text and "torch holds them: 164,618" in text
    assert lines["label (Dense)"].shape == (None, 10)


@pytest.mark.parametrize(
    ("layer", "keras", "torch"),
    [
        (SimpleRNN(10, 20), 20 * (10 + 20 + 1), 20 * (10 + 20 + 2)),
        (LSTM(10, 20), 4 * 20 * (10 + 20 + 1), 4 * 20 * (10 + 20 + 2)),
        (GRU(10, 20), 3 * 20 * (10 + 20 + 2), 3 * 20 * (10 + 20 + 2)),
        (GRU(10, 20, reset_after=False), 3 * 20 * (10 + 20 + 1), 3 * 20 * (10 + 20 + 1)),
        (Bidirectional(LSTM(10, 20)), 2 * 4 * 20 * (10 + 20 + 1), 2 * 4 * 20 * (10 + 20 + 2)),
    ],
)
def test_a_layers_parameters_are_counted_both_ways(layer, keras, torch):
    (line,) = lines_of(layer)
    assert (line.keras, line.torch) == (keras, torch)


def test_every_number_of_a_large_network_is_counted_once():
    config = ModelConfig(
        word_size=6, features={"capitalisation": 2}, hidden=(5, 5), residual=True, layer_norm=True, learned_state=True, crf=True,
        pooling="attention", dense=3, heads={"intent": 0.5},
    )  # fmt: skip
    sizes = Sizes(
        "tagging", 20, 12, 4, num_fixed_words=6, features={"capitalisation": 7}, targets={"intent": Target("classification", 3)}
    )
    network = build_network(config, sizes)
    held = sum(p.numel() for p in network.parameters())
    lines = list(lines_of(network))
    assert sum(line.torch for line in lines) == held + 6 * 6
    assert sum(line.trained for line in lines) == held
    assert f"Non-trainable: {6 * 6}" in summary(network)


def test_a_stack_alone_has_a_table_too():
    assert "recurrent_2 (Bidirectional LSTM, sum)" in summary(Stacked([GRU(3, 5), Bidirectional(LSTM(5, 4), "sum")]))
