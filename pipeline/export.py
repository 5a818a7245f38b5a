"""A trained model becomes the folder that the registry gets, and is refused unless both say the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from pipeline.config import CAPITALISATION
from pipeline.engines import open_engine
from pipeline.errors import IntegrityError, ParamsError
from pipeline.parity import TOLERANCE, Asked, Parity, compare_engines, draw_batches
from pipeline.plans import plan_batches
from pipeline.scoring import Split
from pipeline.trained import TorchEngine, Trained

_STEPS = 2000
"""Steps per batch of the test split, padding included."""


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
    parity = measure(trained, folder, test, num_batches)
    if not parity.holds:
        raise IntegrityError(
            f"{model_dir}: is not registered; the exported graph does not say what the trained network says, over {parity}; "
            f"{TOLERANCE:.0e} is allowed; fix: this is a defect of the export; report it with the params of the model"
        )
    return parity


def measure(trained: Trained, folder: Path, test: Split, num_batches: int) -> Parity:
    """Compare a trained network with what was exported of it."""
    with _one_thread():
        return _measure(trained, folder, test, num_batches)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Have torch use one thread: more make small batches no faster, and on a busy machine many times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _measure(trained: Trained, folder: Path, test: Split, num_batches: int) -> Parity:
    right, held, vocab = TorchEngine(trained.network), open_engine(folder, "onnx"), trained.vocab
    columns = [name for name in trained.network.config.features if name != CAPITALISATION]
    lengths, batches = draw_batches(num_batches)
    drawn = Asked.draw(lengths, vocab, trained.network.sizes, columns)
    found = compare_engines(right, held, drawn, vocab, batches)
    given = Asked.of_split(test, vocab, columns)
    return found + compare_engines(right, held, given, vocab, plan_batches(given.lengths, _STEPS))
