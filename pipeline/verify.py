"""The padding contract of a model: what a sequence is answered depends on nothing that is asked beside it."""

import numpy as np

from pipeline.engines import EngineName
from pipeline.errors import IntegrityError
from pipeline.parity import TOLERANCE, Asked, compare_padding
from pipeline.predict import load

_NUM_SEQUENCES, _LONGEST = 300, 120


def run(model: str, engine: EngineName = "auto") -> None:
    """Ask a model drawn sequences alone, beside others, in another order and beside a far longer one; print how far apart it is.

    Args:
        model: an MLflow address such as `models:/pos@champion`, or a model folder.
        engine: what runs the network.

    Raises:
        IntegrityError: an answer hangs on what it was asked with.
        ParamsError: there is no such model, or the engine can not run it.
    """
    labeler = load(model, engine)
    lengths = np.concatenate([np.random.default_rng(1).integers(1, 30, _NUM_SEQUENCES - 1), [_LONGEST]])
    asked = Asked.draw(lengths, labeler.vocab, labeler.sizes, labeler.columns, seed=1)
    found = compare_padding(labeler.engine, asked, labeler.vocab)
    told = f"{model}, {labeler.engine.name}: {_NUM_SEQUENCES} sequences alone and beside others, {found}"
    if not found.holds():
        raise IntegrityError(
            f"{told}; {TOLERANCE:.0e} is allowed: answers hang on padding, batch mates or order; fix: do not use it"
        )
    print(told)
