"""The whole network: input encoder -> stacked recurrent layers -> head. It knows no file, device or worker."""

import torch
from torch import Tensor, nn

from models.batch import Batch
from models.config import ModelConfig, Sizes
from models.embed import InputEncoder
from models.heads import HEADS, loss_sum
from models.rnn import build_stack


class Network(nn.Module):
    """A recurrent tagger or classifier.

    Args:
        config: layers and sizes.
        sizes: what the data asks for.
        vectors: (num_words, word_size) pre-trained values of the word table.
    """

    def __init__(self, config: ModelConfig, sizes: Sizes, vectors: Tensor | None = None) -> None:
        super().__init__()
        self.config, self.sizes = config, sizes
        self.inputs = InputEncoder(config, sizes, vectors)
        self.rnn = build_stack(
            config.cell,
            self.inputs.output_size,
            config.hidden,
            bidirectional=config.bidirectional,
            dropout=config.dropout,
        )
        self.head = HEADS[sizes.task](self.rnn, sizes.num_labels, config)

    def forward(self, batch: Batch) -> Tensor:
        """Give logits: (B, T, L) for tagging, where steps past `lengths` mean nothing; (B, L) for classification."""
        outputs, last = self.rnn(self.inputs(batch), batch.lengths)
        return self.head(outputs, last, batch.lengths)

    def loss_sum(self, batch: Batch, label_smoothing: float = 0.0) -> Tensor:
        """Add up the cross-entropy of every real target of a batch, in nats."""
        return self.loss_of(self(batch), batch, label_smoothing)

    def loss_of(self, logits: Tensor, batch: Batch, label_smoothing: float = 0.0) -> Tensor:
        """The same, from logits that are there already."""
        return loss_sum(logits, self.head.targets(batch), label_smoothing)


def build_network(config: ModelConfig, sizes: Sizes, seed: int, vectors: Tensor | None = None) -> Network:
    """Build a network whose random weights follow from the seed alone; the generator of the process is left as it was."""
    if not sizes.vector_size and not config.word_size and not config.char_hidden:
        raise ValueError("model: word_size and char_hidden are both 0, so it would read nothing; set one of them")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(config, sizes, vectors)
