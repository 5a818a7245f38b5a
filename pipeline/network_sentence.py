"""A network in a sentence, from its config alone."""

from models.config import ModelConfig, Sizes

_CELLS = {"simple_rnn": "simple RNN", "lstm": "LSTM", "gru": "GRU"}
_CHARACTERS = {"lstm": "a bidirectional LSTM", "gru": "a bidirectional GRU", "cnn": "a convolution"}
_POOLINGS = {
    "final": "the last state",
    "max": "the largest output of each unit over time",
    "mean": "the mean output over time",
    "attention": "an attention-weighted mean of its outputs",
}


def say_network(config: ModelConfig, sizes: Sizes) -> str:
    """Say what a network reads, which layers it has and what decides on its labels."""
    cell = ("bidirectional " if config.bidirectional else "") + _CELLS[config.cell]
    units = ", ".join(map(str, config.hidden)) + " units" + (" in each direction" if config.bidirectional else "")
    layers = f"{len(config.hidden)} layer{'s' if len(config.hidden) > 1 else ''} of {units}"
    way = ", from the end of each sequence," if config.go_backwards else ""
    return f"A {cell} with {layers} reads{way} {_join(_inputs(config, sizes))}; {_head(config, sizes)}."


def _inputs(config: ModelConfig, sizes: Sizes) -> list[str]:
    if sizes.vector_size:
        return [f"{sizes.vector_size} numbers a step through a linear layer of {config.word_size}"]
    parts = [f"each word as {config.word_size} numbers"] if config.word_size else []
    hidden = 25 if config.char_hidden is None else config.char_hidden
    if hidden:
        own = _CHARACTERS[config.char_encoder or "lstm"]
        parts.append(f"{'its' if parts else 'each word by its'} characters through {own} of {hidden} units")
    return [*parts, *(f"{name} as {size} numbers" for name, size in config.features.items())]


def _head(config: ModelConfig, sizes: Sizes) -> str:
    chooses = f"chooses among {sizes.num_labels} labels"
    further = f", and further heads tell {_join(list(config.heads))}" if config.heads else ""
    if sizes.task == "tagging":
        way = "a conditional random field" if config.crf else "a softmax"
        return f"{way} {chooses} at each step{further}"
    dense = f" and a layer of {config.dense} units" if config.dense else ""
    return f"from {_POOLINGS[config.pooling or 'final']}{dense} a softmax {chooses}{further}"


def _join(parts: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
