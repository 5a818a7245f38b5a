"""The whole network: input encoder -> stacked recurrent layers -> heads. It knows no file, device or worker."""

import torch
from torch import Tensor, nn

from models.batch import Batch
from models.config import MAIN, ModelConfig, Setting, Sizes, find_clashes, find_idle
from models.dropout import Dropout
from models.embed import InputEncoder
from models.heads import HEADS, CRFHead, Head, Prediction, Read
from models.lengths import reverse_real_part
from models.stack import build_stack


class Network(nn.Module):
    """A recurrent tagger, classifier, or both.

    Args:
        config: layers and sizes.
        sizes: what the data asks for.
        vectors: (num_words, word_size) pre-trained values of the word table.
    """

    def __init__(self, config: ModelConfig, sizes: Sizes, vectors: Tensor | None = None) -> None:
        super().__init__()
        self.config, self.sizes = config, sizes
        self.inputs = InputEncoder(config, sizes, vectors)
        self.input_dropout = Dropout(config.input_dropout)
        self.rnn = build_stack(config, self.inputs.output_size)
        self.head_names = (MAIN, *config.heads)
        self.heads = nn.ModuleList([self._main_head(), *map(self._further_head, config.heads)])

    def _main_head(self) -> Head:
        config, sizes, size = self.config, self.sizes, self.rnn.output_size
        if config.crf:
            return CRFHead(size, sizes.num_labels, config, sizes.labels if config.bio else ())
        return HEADS[sizes.task](size, sizes.num_labels, config)

    def _further_head(self, name: str) -> Head:
        target = self.sizes.targets[name]
        return HEADS[target.task](self.rnn.output_size, target.num_labels, self.config)

    @property
    def weights(self) -> dict[str, float]:
        """How much each target's mean loss counts."""
        return {MAIN: 1.0, **self.config.heads}

    def forward(self, batch: Batch, matmul_dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """Give each target's logits: (B, T, L) per step, where those past `lengths` mean nothing, or (B, L).

        Args:
            batch: what to read.
            matmul_dtype: a lower precision for the recurrent layers, where nearly all arithmetic is; weights stay as they are.
        """
        noise, form_noise = batch.noise(batch.keys), batch.noise(batch.form_keys)
        inputs = self.input_dropout(self.inputs(batch, form_noise), noise)
        with torch.autocast(inputs.device.type, matmul_dtype, enabled=matmul_dtype is not None):
            outputs, state = self.rnn(inputs, batch.lengths, noise=noise and noise.fold(0))
            final = self.rnn.final(outputs, state, batch.lengths).to(inputs.dtype)
        outputs = outputs.to(inputs.dtype)
        if self.config.go_backwards:
            outputs = reverse_real_part(outputs, batch.lengths)
        read = Read(outputs, final, batch.lengths)
        numbered = enumerate(zip(self.head_names, self.heads, strict=True), start=1)
        return {name: head(read, noise and noise.fold(number)) for number, (name, head) in numbered}

    def loss_sums(self, logits: dict[str, Tensor], batch: Batch, label_smoothing: float = 0.0) -> dict[str, Tensor]:
        """Add up each target's loss over a batch, in nats."""
        return {
            name: head.loss_sum(logits[name], batch.targets[name], batch.lengths, label_smoothing)  # type: ignore[operator]
            for name, head in zip(self.head_names, self.heads, strict=True)
        }

    def predict(self, logits: dict[str, Tensor], lengths: Tensor) -> dict[str, Prediction]:
        """Give each target's labels and how likely they are."""
        return {
            name: head.predict(logits[name], lengths)  # type: ignore[operator]
            for name, head in zip(self.head_names, self.heads, strict=True)
        }


def build_network(config: ModelConfig, sizes: Sizes, seed: int = 0, vectors: Tensor | None = None) -> Network:
    """Build a network whose random weights follow from the seed alone; the generator of the process is left as it was.

    Args:
        config: the network.
        sizes: what it must know of the data.
        seed: of the first weights.
        vectors: (num_words, word_size) pre-trained values of the word table.

    Raises:
        ValueError: an option does nothing in this network, or two do not go together, or the data lacks what it names.
    """
    sequence_targets = tuple(name for name, target in sizes.targets.items() if target.task == "classification")
    # Vectors count as given: where trained weights are loaded into a network, there are none, and `tune_vectors` stays.
    setting = Setting(sizes.task, bool(sizes.vector_size), has_vectors=True, sequence_targets=sequence_targets)
    problems = [f"model.{key} does nothing here; it is for {purpose}" for key, purpose in find_idle(config, setting)]
    problems += [f"model.{key} {text}" for key, text in find_clashes(config, setting)]
    problems += [
        f"model.{key} names {name!r}; the data has {sorted(known)}"
        for key, names, known in (("features", config.features, sizes.features), ("heads", config.heads, sizes.targets))
        for name in names
        if name not in known
    ]
    if problems:
        raise ValueError("; ".join(problems))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(config, sizes, vectors)
