"""What runs a network: onnxruntime on all cores, in float32 or in whole numbers (int8), without torch.

An answer depends on its own sequence alone. int8 is less exact than float32, and the stage evaluate shows what that costs.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.errors import IntegrityError
from pipeline.examples import Examples, FormTable, Rows
from pipeline.plans import plan_batches
from pipeline.vocab import Vocab

EngineName = Literal["auto", "torch", "onnx", "int8"]

NETWORK, NETWORK_INT8, FORMS = "network.onnx", "network_int8.onnx", "forms.onnx"
"""The files of a network: its graph, the same in int8 where that can be, and the graph of word forms where it reads words."""
_STEPS = 1024
"""Steps per batch, padding included: onnxruntime is fastest where all that a batch needs stays in a core's own cache."""
_MOST_FORMS = 100_000
"""Word forms whose vectors are kept from call to call."""
_FORMS_AT_ONCE = 512
T = TypeVar("T")

Forms = FormTable | NDArray[np.float32] | None
"""What tokens are rows of: the table of word forms, their vectors, or nothing where the input is numeric."""


@dataclass(frozen=True)
class Output:
    """What a head says of a batch: label ids and how likely each is, (B, T) or (B,), and logits, (B, T, L) or (B, L).

    Past a row's end they mean nothing.
    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.floating[Any]]
    logits: NDArray[np.floating[Any]]

    def row(self, place: int) -> "Output":
        """Give one sequence's, as a batch."""
        return self._at(slice(place, place + 1))

    def real(self, lengths: Rows) -> "Output":
        """Give what is said of real steps, one after another, (N,) and (N, L), of rows of these lengths; or of each row, (B,)."""
        if self.logits.ndim == 2:
            return self
        return self._at(np.arange(self.logits.shape[1]) < lengths[:, None])

    def _at(self, places: Any) -> "Output":
        return Output(self.labels[places], self.probabilities[places], self.logits[places])


@dataclass(frozen=True)
class Predicted:
    """What a network says of a batch: the numbers of its sequences, and an output per head."""

    rows: Rows
    heads: dict[str, Output]


class Engine(Protocol):
    """Runs a network over encoded sequences."""

    name: str

    def read_forms(self, forms: Sequence[str], vocab: Vocab) -> tuple[Rows, Forms]:
        """Give the row of each of these distinct word forms in a table, and the table."""

    def predict(self, examples: Examples, forms: Forms) -> Iterator[Predicted]:
        """Yield predictions for every sequence once, in batches, in any order."""

    def run(self, examples: Examples, forms: Forms, rows: Rows) -> Predicted:
        """Predict some sequences, as one batch."""


class OnnxEngine:
    """A network's graphs in onnxruntime: as many batches at once as there are cores, each on one.

    Args:
        network: the graph of `models.onnx`: a file, or what would be in it.
        forms: that of `models.onnx_forms`, where the network reads words.
        int8: whether the network's graph is in whole numbers.
    """

    def __init__(self, network: Path | bytes, forms: Path | bytes | None, int8: bool = False) -> None:
        self.name = "int8" if int8 else "onnx"
        self._num_threads = _num_threads()
        self._session = _open(network)
        self._forms = None if forms is None else _open(forms)
        self._vectors_name = "vectors_int8" if int8 else "vectors"
        self._inputs = [item.name for item in self._session.get_inputs()]
        outputs = [item.name for item in self._session.get_outputs()]
        self._heads = [name.removeprefix("labels/") for name in outputs if name.startswith("labels/")]
        self._lock = Lock()
        self._places: dict[str, int] = {}
        self._vectors = np.empty((0, 0), np.float32)

    def read_forms(self, forms: Sequence[str], vocab: Vocab) -> tuple[Rows, Forms]:
        """See `Engine.read_forms`; a form that was met before is not encoded again."""
        with self._lock:
            new = [form for form in forms if form not in self._places]
            if len(self._places) + len(new) > _MOST_FORMS:
                self._places, new = {}, list(forms)
            if new:
                vectors = self._encode(vocab.encode_forms(pl.Series(new, dtype=pl.String)))
                self._vectors = np.concatenate([self._vectors, vectors]) if self._places else vectors
                self._places.update(zip(new, range(len(self._places), len(self._vectors)), strict=True))
            return np.array([self._places[form] for form in forms], np.int64), self._vectors

    def _encode(self, forms: FormTable) -> NDArray[np.float32]:
        """Give the vectors of all forms of a table."""
        if self._forms is None:
            return np.empty((len(forms.word_ids), 0), np.float32)
        encode = partial(_encode_part, self._forms, self._vectors_name, forms)
        order = np.argsort(np.diff(forms.char_offsets), kind="stable")
        parts = [order[i : i + _FORMS_AT_ONCE] for i in range(0, len(order), _FORMS_AT_ONCE)][::-1]  # the longest first
        vectors = list(self._run_all(encode, parts))
        found = np.empty((len(order), vectors[0].shape[1]), np.float32)
        for part, own in zip(parts, vectors, strict=True):
            found[part] = own
        return found

    def _run_all(self, run: Callable[[Rows], T], parts: Sequence[Rows]) -> Iterator[T]:
        """Run parts, each on a core; their order is kept."""
        if min(self._num_threads, len(parts)) == 1:
            yield from map(run, parts)
            return
        with ThreadPoolExecutor(self._num_threads) as pool:
            yield from pool.map(run, parts)

    def predict(self, examples: Examples, forms: Forms) -> Iterator[Predicted]:
        """See `Engine.predict`."""
        vectors = self._encode(forms) if isinstance(forms, FormTable) else forms
        size = min(_STEPS, -(-int(examples.offsets[-1]) // self._num_threads))
        plan = plan_batches(examples.lengths, size)[::-1]  # the longest first, so that no thread ends with them alone
        yield from self._run_all(lambda rows: self.run(examples, vectors, rows), plan)

    def run(self, examples: Examples, forms: Forms, rows: Rows) -> Predicted:
        """See `Engine.run`."""
        vectors = self._encode(forms) if isinstance(forms, FormTable) else forms
        lengths = examples.lengths[rows]
        steps = examples.offsets[rows][:, None] + np.arange(lengths.max())
        at = np.minimum(steps, examples.offsets[-1] - 1)  # nothing reads what stands at padding
        given: dict[str, Any] = {"lengths": lengths.astype(np.int32)}
        if examples.values is not None:
            given["values"] = np.asarray(examples.values[at], np.float32)
        if "tokens" in self._inputs:
            assert examples.tokens is not None
            given |= {"forms": vectors, "tokens": examples.tokens[at].astype(np.int64)}
        columns = [name.removeprefix("column/") for name in self._inputs if name.startswith("column/")]
        given |= {f"column/{name}": examples.per_token[name][at].astype(np.int64) for name in columns}
        kinds = ("labels", "probabilities", "logits")
        found = iter(self._session.run([f"{kind}/{name}" for name in self._heads for kind in kinds], given))
        return Predicted(rows, {name: Output(next(found), next(found), next(found)) for name in self._heads})


def _encode_part(session: Any, output: str, forms: FormTable, part: Rows) -> NDArray[np.float32]:
    wanted = [item.name for item in session.get_inputs()]
    vectors: NDArray[np.float32] = session.run([output], _form_inputs(forms, part, wanted))[0]
    return vectors


def _form_inputs(forms: FormTable, part: Rows, wanted: list[str]) -> dict[str, NDArray[Any]]:
    """Give what the graph of word forms reads of some forms of a table, in ascending order of length."""
    given: dict[str, NDArray[Any]] = {"words": forms.word_ids[part].astype(np.int64)}
    if "capitalisation" in wanted:
        assert forms.capitalisation is not None
        given["capitalisation"] = forms.capitalisation[part].astype(np.int64)
    if "chars" in wanted:
        assert forms.char_ids is not None
        starts = forms.char_offsets[part]
        lengths = forms.char_offsets[part + 1] - starts
        at = starts[:, None] + np.minimum(np.arange(lengths.max()), lengths[:, None] - 1)  # padding is never read
        given |= {"chars": forms.char_ids[at].astype(np.int64), "char_lengths": lengths.astype(np.int32)}
    return {name: given[name] for name in wanted}


def _open(graph: Path | bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if not isinstance(graph, Path):
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    try:
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own kinds have no other parent; a graph that reads files outside its folder is among them
        reason = " ".join(str(error).split())
        raise IntegrityError(f"{graph}: is no graph that can be run; {reason}; fix: do not trust it") from error


def _num_threads() -> int:
    """As many as the process may use cores, or as it is told to."""
    return int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))


def open_engine(folder: Path, name: EngineName) -> OnnxEngine:
    """Open the graphs of an exported model.

    Raises:
        ValueError: it has none that could be run so.
    """
    if name == "torch":
        raise ValueError("torch runs a network as it was trained, not one that was exported for the registry")
    graph = folder / (NETWORK_INT8 if name == "int8" else NETWORK)
    if not graph.exists():
        raise ValueError("this network has no graph in int8, which is for LSTMs over words")
    forms = folder / FORMS
    return OnnxEngine(graph, forms if forms.exists() else None, name == "int8")
