"""All stages of a pipeline one after another, without DVC, in a scratch folder: to try a change before it is one.

The stages are the very ones that DVC runs. Each is imported when its turn comes.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from pipeline.scratch import Work, clear_raw, find_raw, link_raw, note_raw

logger = logging.getLogger(__name__)

FAST_EXAMPLES = 8
"""Of each split, where one batch goes through every stage."""
_ALL_TOKENS = 10**9
"""More than a few examples have: they make one batch."""
_FAST_PARITY = 20


def run(work: Work) -> None:
    """Run all stages up to evaluate, and say where its files are."""
    run_stages(work, ("fetch", "prepare", "encode", "train", "evaluate"))
    layout = work.layout
    logger.info("%s: report in %s, model in %s", layout.pipeline, layout.report_dir / "report.html", layout.model_dir)


def run_fast(work: Work) -> None:
    """Run every stage, register too, with one batch of each split."""
    begun = time.monotonic()
    train = replace(work.params.train, epochs=1, patience=0, batch_tokens=_ALL_TOKENS, batch_sequences=None)
    register = replace(work.params.register, parity_batches=min(_FAST_PARITY, work.params.register.parity_batches))
    params = replace(work.params, train=train, register=register)
    run_stages(replace(work, params=params, num_examples=FAST_EXAMPLES), tuple(STAGES))
    print(
        f"{work.layout.pipeline}: one batch went through every stage in {time.monotonic() - begun:.0f} s; its scores mean nothing"
    )


def run_stages(work: Work, names: Iterable[str]) -> None:
    """Run some stages in this order; one process at a time may.

    Raises:
        UnrollError: what a stage ends with, or another process runs this pipeline here.
    """
    from pipeline.train import alone

    with alone(work.layout.work_dir):
        for name in names:
            begun = time.monotonic()
            STAGES[name](work)
            logger.info("%s: %s took %.1f s", work.layout.pipeline, name, time.monotonic() - begun)


def _fetch(work: Work) -> None:
    found = find_raw(work)
    if found is not None:
        link_raw(found, work)
        logger.info("%s: the corpus is in %s", work.layout.pipeline, found)
        return
    from pipeline import fetch

    clear_raw(work)
    fetch.run(work.params.corpus, work.corpus, work.layout, work.vectors)
    note_raw(work)


def _prepare(work: Work) -> None:
    from pipeline import prepare
    from pipeline.limit import keep_some

    prepare.run(work.corpus, work.params.split, work.layout)
    if work.num_examples is not None:
        keep_some(work.layout.prepared_dir, work.num_examples)


def _encode(work: Work) -> None:
    from pipeline import encode

    encode.run(work.corpus, work.params.encode, work.vectors[1] if work.vectors else None, work.layout)


def _train(work: Work) -> None:
    from pipeline import train

    train.run(work.params.model, work.params.train, work.scaling, work.layout)


def _evaluate(work: Work) -> None:
    from pipeline import evaluate

    evaluate.run(work.corpus.task, work.layout)


def _register(work: Work) -> None:
    from pipeline import register

    register.run(work.corpus, work.params.register, work.layout, corpus_name=work.params.corpus, params=work.params)


STAGES: dict[str, Callable[[Work], None]] = {
    "fetch": _fetch,
    "prepare": _prepare,
    "encode": _encode,
    "train": _train,
    "evaluate": _evaluate,
    "register": _register,
}
