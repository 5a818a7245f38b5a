"""A network as it was trained, from the folder that the stage train writes, and what it becomes for the registry.

This is the side that knows torch; what is exported runs without (`pipeline.labeler`, `pipeline.engines`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from models.config import ModelConfig, Sizes
from models.network import Network, build_network
from models.onnx import check, export
from models.onnx_forms import export_forms, form_size
from pipeline.batches import make_batch
from pipeline.checkpoint import load_checkpoint
from pipeline.engines import FORMS, NETWORK, NETWORK_INT8, Engine, EngineName, Forms, OnnxEngine, Output, Predicted
from pipeline.examples import Examples, Rows
from pipeline.manifest import write_manifest
from pipeline.plans import plan_batches
from pipeline.stored import understanding
from pipeline.vocab import Vocab

_TOKENS = 4096
"""Steps per batch, padding included: enough to keep torch's kernels busy, small enough for any machine's memory."""


@dataclass(frozen=True)
class Trained:
    """A trained network, what its numbers mean, and what is known of its training."""

    network: Network
    vocab: Vocab
    meta: dict[str, Any]

    @classmethod
    def load(cls, folder: Path) -> "Trained":
        """Read a model folder whose files match its manifest.

        Raises:
            IntegrityError: a file is missing or altered.
        """
        tensors, meta = load_checkpoint(folder)
        with understanding(folder):
            config = ModelConfig(**{**meta["model"], "hidden": tuple(meta["model"]["hidden"])})
            sizes = Sizes.load(meta["sizes"])
            _demand_fitting(config, sizes, tensors)
            network = build_network(config, sizes)
            network.to(next(iter(tensors.values())).dtype).load_state_dict(tensors)
        return cls(network.eval(), Vocab.load(folder / "vocab.json"), meta)

    def engine(self, name: EngineName) -> Engine:
        """Make what runs the network; `auto` is onnxruntime, or torch where the network can not be written to ONNX.

        Raises:
            ValueError: the network can not be run so.
        """
        if name == "torch":
            return TorchEngine(self.network)
        int8 = name == "int8"
        try:
            graph = export(self.network, int8)
        except ValueError:
            if name != "auto":
                raise
            return TorchEngine(self.network)
        return OnnxEngine(graph, export_forms(self.network, int8) if form_size(self.network) else None, int8)

    def export(self, folder: Path) -> None:
        """Write the folder of a model that runs without torch: graphs, vocabularies, what is known of it, a manifest.

        Raises:
            ValueError: something in the network has no counterpart in ONNX.
        """
        folder.mkdir(parents=True)
        int8 = self._has_int8()
        (folder / NETWORK).write_bytes(export(self.network))
        if int8:
            (folder / NETWORK_INT8).write_bytes(export(self.network, int8=True))
        if form_size(self.network):
            (folder / FORMS).write_bytes(export_forms(self.network, int8))
        self.vocab.save(folder / "vocab.json")
        (folder / "meta.json").write_text(json.dumps(self.meta), encoding="utf-8")
        write_manifest(folder)

    def _has_int8(self) -> bool:
        try:
            check(self.network, int8=True)
        except ValueError:
            return False
        return True


def _demand_fitting(config: ModelConfig, sizes: Sizes, tensors: Mapping[str, Tensor]) -> None:
    """See that weights are there for what a network says it is, before memory is asked for: it may say anything.

    Raises:
        ValueError: a table or a matrix would have more numbers than all weights together.
    """
    num_there, last = sum(tensor.numel() for tensor in tensors.values()), config.hidden[-1]
    per_label = min(last, config.dense or last)
    needed = {
        "num_words": sizes.num_words * config.word_size,
        "num_chars": sizes.num_chars * (config.char_size or 1) if config.char_hidden != 0 else 0,
        "num_labels": sizes.num_labels * per_label,
        "vector_size": sizes.vector_size * config.word_size,
        "word_size": config.word_size * config.hidden[0],
        "hidden": max(config.hidden) ** 2,
        "char_hidden": (config.char_hidden or 0) * (config.char_size or 1) * (config.char_width or 1),
        "dense": (config.dense or 0) * last,
        **{name: sizes.features[name] * size for name, size in config.features.items() if name in sizes.features},
        **{name: sizes.targets[name].num_labels * per_label for name in config.heads if name in sizes.targets},
    }
    if config.char_encoder != "cnn":
        needed["char_hidden"] = max(needed["char_hidden"], (config.char_hidden or 0) ** 2)
    wrong = [f"{key} asks for {number:,}" for key, number in needed.items() if number > num_there]
    wrong += [f"hidden has {len(config.hidden):,} layers"] if len(config.hidden) > len(tensors) else []
    if wrong:
        raise ValueError(f"{', '.join(wrong)}; the weights have {num_there:,} numbers in {len(tensors):,} tensors")


class TorchEngine:
    """The network as it was trained."""

    name = "torch"

    def __init__(self, network: Network) -> None:
        self._network = network

    def read_forms(self, forms: Sequence[str], vocab: Vocab) -> tuple[Rows, Forms]:
        """See `Engine.read_forms`."""
        return np.arange(len(forms)), vocab.encode_forms(pl.Series(forms, dtype=pl.String))

    def predict(self, examples: Examples, forms: Forms) -> Iterator[Predicted]:
        """See `Engine.predict`."""
        yield from (self.run(examples, forms, rows) for rows in plan_batches(examples.lengths, _TOKENS))

    @torch.inference_mode()
    def run(self, examples: Examples, forms: Forms, rows: Rows) -> Predicted:
        """See `Engine.run`."""
        assert not isinstance(forms, np.ndarray)
        batch = make_batch(replace(examples, forms=forms), rows)
        batch = replace(batch, values=batch.values.to(next(self._network.parameters()).dtype))
        logits = self._network(batch)
        heads = {
            name: Output(found.labels.numpy(), found.probabilities.numpy(), logits[name].numpy())
            for name, found in self._network.predict(logits, batch.lengths).items()
        }
        return Predicted(rows, heads)
