"""What runs a network: torch, or onnxruntime on all cores, in float32 or in whole numbers (int8).

An answer depends on its own sequence alone, whichever it is. torch and onnxruntime agree to the last digits; int8 is less
exact, and the stage evaluate shows what that costs.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Literal, Protocol

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.heads import Prediction
from models.network import Network
from models.onnx import export, form_size, form_vectors
from pipeline.batches import evaluation_batches, make_batch, plan_batches
from pipeline.examples import Examples, FormTable, Rows
from pipeline.vocab import Vocab

EngineName = Literal["auto", "torch", "onnx", "int8"]

_TORCH_TOKENS = 4096
"""Steps per batch, padding included: enough to keep torch's kernels busy, small enough for any machine's memory."""
_ONNX_TOKENS = 1024
"""The same for onnxruntime, which is fastest where all that a batch needs stays in a core's own cache."""
_MOST_FORMS = 100_000
"""Word forms whose vectors are kept from call to call."""
_FORMS_AT_ONCE = 4096

Forms = FormTable | NDArray[np.float32] | None
"""What tokens are rows of: the table of word forms, their vectors, or nothing where the input is numeric."""


@dataclass(frozen=True)
class Predicted:
    """What the heads say of a batch: the numbers of its sequences, their lengths on the CPU, a prediction per head."""

    rows: Rows
    lengths: Tensor
    heads: dict[str, Prediction]


class Engine(Protocol):
    """Runs a network over encoded sequences."""

    name: str

    def read_forms(self, forms: pl.Series, vocab: Vocab) -> tuple[Rows, Forms]:
        """Give the row of each of these distinct word forms in a table, and the table."""

    def predict(self, examples: Examples, forms: Forms) -> Iterator[Predicted]:
        """Yield predictions for every sequence once, in batches, in any order."""


class TorchEngine:
    """The network as it was trained."""

    name = "torch"

    def __init__(self, network: Network) -> None:
        self._network = network

    def read_forms(self, forms: pl.Series, vocab: Vocab) -> tuple[Rows, Forms]:
        """See `Engine.read_forms`."""
        return np.arange(len(forms)), vocab.encode_forms(forms)

    def predict(self, examples: Examples, forms: Forms) -> Iterator[Predicted]:
        """See `Engine.predict`."""
        assert not isinstance(forms, np.ndarray)
        for rows, batch in evaluation_batches(replace(examples, forms=forms), _TORCH_TOKENS):
            with torch.inference_mode():
                heads = self._network.predict(self._network(batch), batch.lengths)
            yield Predicted(rows, batch.lengths, heads)


class OnnxEngine:
    """The network in onnxruntime: as many batches at once as torch may use threads, each on one.

    Args:
        network: to be run; its character network and what follows from logits stay with torch.
        int8: multiply in whole numbers.

    Raises:
        ValueError: the network can not be written to ONNX, or not in int8.
    """

    def __init__(self, network: Network, int8: bool = False) -> None:
        import onnxruntime

        self.name = "int8" if int8 else "onnx"
        self._network, self._int8, self._size = network, int8, form_size(network)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(export(network, int8), options, providers=["CPUExecutionProvider"])
        self._lock = Lock()
        self._known, self._vectors = pl.Series(dtype=pl.String), np.empty((0, 0), np.float32)

    def read_forms(self, forms: pl.Series, vocab: Vocab) -> tuple[Rows, Forms]:
        """See `Engine.read_forms`; a form that was met before is not encoded again."""
        with self._lock:
            known = forms.to_frame("form").join(self._known.to_frame("form"), on="form", how="anti", maintain_order="left")[
                "form"
            ]
            if len(self._known) + len(known) > _MOST_FORMS:
                self._known, known = self._known.clear(), forms
            if len(known):
                vectors = self._encode(vocab.encode_forms(known))
                self._vectors = np.concatenate([self._vectors, vectors]) if len(self._known) else vectors
                self._known = pl.concat([self._known, known])
            table, vectors = self._known.to_frame("form").with_row_index(), self._vectors
        rows = forms.to_frame("form").join(table, on="form", how="left", maintain_order="left")["index"]
        return rows.to_numpy().astype(np.int64), vectors

    def _encode(self, forms: FormTable) -> NDArray[np.float32]:
        """Give the vectors of all forms of a table, each read as a sequence of one word."""
        num = len(forms.word_ids)
        if not self._size:
            return np.empty((num, 0), np.float32)
        words = Examples(np.arange(num + 1), tokens=np.arange(num, dtype=np.int32), forms=forms)
        order = np.argsort(np.diff(forms.char_offsets), kind="stable")
        parts = [order[i : i + _FORMS_AT_ONCE] for i in range(0, num, _FORMS_AT_ONCE)]
        found = np.concatenate([form_vectors(self._network, make_batch(words, part), self._int8) for part in parts])
        vectors = np.empty_like(found)
        vectors[order] = found
        return vectors

    def predict(self, examples: Examples, forms: Forms) -> Iterator[Predicted]:
        """See `Engine.predict`."""
        vectors = self._encode(forms) if isinstance(forms, FormTable) else forms
        num_threads = torch.get_num_threads()
        size = min(_ONNX_TOKENS, -(-int(examples.offsets[-1]) // num_threads))
        plan = plan_batches(examples.lengths, size)[::-1]  # the longest first, so that no thread ends with them alone
        if min(num_threads, len(plan)) == 1:
            yield from (self._run(examples, vectors, rows) for rows in plan)
            return
        with ThreadPoolExecutor(num_threads) as pool:
            yield from pool.map(lambda rows: self._run(examples, vectors, rows), plan)

    @torch.inference_mode()
    def _run(self, examples: Examples, vectors: NDArray[np.float32] | None, rows: Rows) -> Predicted:
        lengths = examples.lengths[rows]
        steps = examples.offsets[rows][:, None] + np.arange(lengths.max())
        at = np.minimum(steps, examples.offsets[-1] - 1)  # nothing reads what stands at padding
        given: dict[str, Any] = {"lengths": lengths.astype(np.int32)}
        if examples.values is not None:
            given["values"] = np.asarray(examples.values[at], np.float32)
        if examples.tokens is not None and self._size:
            given |= {"forms": vectors, "tokens": examples.tokens[at].astype(np.int64)}
        given |= {f"column/{name}": examples.per_token[name][at].astype(np.int64) for name in self._columns}
        names = self._network.head_names
        answers = self._session.run([f"logits/{name}" for name in names], given)
        logits = {name: torch.from_numpy(answer) for name, answer in zip(names, answers, strict=True)}
        own = torch.from_numpy(lengths)
        return Predicted(rows, own, self._network.predict(logits, own))

    @property
    def _columns(self) -> list[str]:
        """Further columns that the graph reads."""
        names = [item.name for item in self._session.get_inputs()]
        return [name.removeprefix("column/") for name in names if name.startswith("column/")]


def make_engine(network: Network, name: EngineName) -> Engine:
    """Make what runs a network; `auto` is onnxruntime, or torch where the network can not be written to ONNX.

    Raises:
        ValueError: the network can not be run so.
    """
    if name == "torch":
        return TorchEngine(network)
    try:
        return OnnxEngine(network, int8=name == "int8")
    except ValueError:
        if name != "auto":
            raise
        return TorchEngine(network)
