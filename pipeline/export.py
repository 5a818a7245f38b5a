"""A trained model becomes the folder that the registry gets, and is refused unless both say the same."""

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import reduce
from pathlib import Path

import torch

from pipeline.config import CAPITALISATION
from pipeline.engines import Engine, open_engine
from pipeline.errors import IntegrityError, ParamsError
from pipeline.examples import Rows
from pipeline.parity import TOLERANCE, Asked, Parity, compare_engines, draw_batches
from pipeline.plans import plan_batches
from pipeline.scoring import Split
from pipeline.trained import TorchEngine, Trained

_STEPS = 2000
"""Steps per batch of the test split, padding included."""
_MARGIN, _MOST = 10, 1e-3
"""How many times torch's own rounding an export may be off, and by how much at most."""


def export_model(model_dir: Path, folder: Path, test: Split, num_batches: int) -> Parity:
    """Write a model that runs without torch, and hold it against the trained network.

    Both are asked drawn batches and the whole test split.

    Args:
        model_dir: what the stage train wrote.
        folder: where the model shall stand; nothing may be there.
        test: the test split.
        num_batches: to be drawn.

    Returns:
        How far apart the two are.

    Raises:
        ParamsError: the network has a part that ONNX has no counterpart for.
        IntegrityError: the two do not say the same.
    """
    trained = Trained.load(model_dir)
    try:
        trained.export(folder)
    except ValueError as error:
        raise ParamsError(
            f"{model_dir}: can not be registered; {error}, and what is registered runs without torch; fix: change params.yaml's "
            "`model`"
        ) from error
    asked = _ask(trained, test, num_batches)
    held, allowed = open_engine(folder, "onnx"), TOLERANCE
    with _one_thread():
        parity = _compare(TorchEngine(trained.network), held, trained, asked, allowed)
        if not parity.holds():
            allowed = _rounding(trained, asked)
            parity = _compare(TorchEngine(trained.network), held, trained, asked, allowed)
    if not parity.holds(allowed):
        raise IntegrityError(
            f"{model_dir}: is not registered; the exported graph does not say what the trained network says, over {parity}; "
            f"{allowed:.0e} is allowed; fix: this is a defect of the export; report it with the params of the model"
        )
    return parity


@contextmanager
def _one_thread() -> Iterator[None]:
    """Have torch use one thread: more make small batches no faster, and on a busy machine many times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _ask(trained: Trained, test: Split, num_batches: int) -> list[tuple[Asked, list[Rows]]]:
    """Give what both are asked, in batches: drawn sequences, and the test split."""
    columns = [name for name in trained.network.config.features if name != CAPITALISATION]
    lengths, batches = draw_batches(num_batches)
    given = Asked.of_split(test, trained.vocab, columns)
    drawn = Asked.draw(lengths, trained.vocab, trained.network.sizes, columns)
    return [(drawn, batches), (given, plan_batches(given.lengths, _STEPS))]


def _compare(right: Engine, held: Engine, trained: Trained, asked: list[tuple[Asked, list[Rows]]], allowed: float) -> Parity:
    found = [compare_engines(right, held, sequences, trained.vocab, batches, allowed) for sequences, batches in asked]
    return reduce(operator.add, found)


def _rounding(trained: Trained, asked: list[tuple[Asked, list[Rows]]]) -> float:
    """Say by how much logits may differ where a network makes much of little: a few times what rounding does in torch itself."""
    exact, rounded = (TorchEngine(deepcopy(trained.network).to(dtype)) for dtype in (torch.float64, torch.float32))
    return min(_MOST, max(TOLERANCE, _MARGIN * _compare(exact, rounded, trained, asked, TOLERANCE).scaled))
