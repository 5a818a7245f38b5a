"""A network as it was trained, from the folder that the stage train writes, and what it becomes for the registry.

This is the side that knows torch; what is exported runs without (`pipeline.labeler`, `pipeline.engines`).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

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
        config = ModelConfig(**{**meta["model"], "hidden": tuple(meta["model"]["hidden"])})
        network = build_network(config, Sizes.load(meta["sizes"]))
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
