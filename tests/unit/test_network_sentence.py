"""The network in a sentence: it names what is read, the layers and the head of any network."""

from models.config import ModelConfig, Sizes, Target
from pipeline.network_sentence import say_network

SIZES = Sizes("tagging", 9, 9, 16)


def test_a_tagger_over_words_and_characters():
    assert say_network(ModelConfig(), SIZES) == (
        "A bidirectional LSTM with 1 layer of 200 units in each direction reads each word as 100 numbers and its characters "
        "through a bidirectional LSTM of 25 units; a softmax chooses among 16 labels at each step."
    )


def test_a_deep_one_way_classifier_of_numbers():
    config = ModelConfig(cell="gru", hidden=(8, 4), bidirectional=False, go_backwards=True, pooling="mean", dense=5, word_size=6)
    assert say_network(config, Sizes("classification", 2, 2, 3, vector_size=12)) == (
        "A GRU with 2 layers of 8, 4 units reads, from the end of each sequence, 12 numbers a step through a linear layer of 6; "
        "from the mean output over time and a layer of 5 units a softmax chooses among 3 labels."
    )


def test_characters_alone_further_columns_and_further_heads():
    config = ModelConfig(word_size=0, features={"case": 2, "pos": 3}, heads={"mood": 1.0}, crf=True)
    said = say_network(config, Sizes("tagging", 9, 9, 16, targets={"mood": Target("classification", 2)}))
    assert (
        "reads each word by its characters through a bidirectional LSTM of 25 units, case as 2 numbers and pos as 3 numbers"
        in said
    )
    assert said.endswith("; a conditional random field chooses among 16 labels at each step, and further heads tell mood.")
