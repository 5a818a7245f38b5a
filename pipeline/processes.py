"""Pieces of inputs labelled by processes, one per core: much of the work is Python's, of which one process runs one thread."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from threading import Thread
from typing import TypeVar

from pipeline.errors import InfrastructureError
from pipeline.tasks import Job, Labelled

_AHEAD = 2
"""Pieces per process that are read or labelled while the first of them is waited for."""
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
T = TypeVar("T")


def label_each(jobs: Iterator[tuple[T, Job]], num_workers: int) -> Iterator[tuple[T, Job, Labelled]]:
    """Label pieces in order, each given with what it is for; one process is this one.

    Raises:
        UnrollError: a piece can not be labelled.
        InfrastructureError: a process died.
    """
    if num_workers == 1:
        yield from ((what, job, _label(job)) for what, job in jobs)
        return
    # A process that was forked would have the locks of threads that it has not.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, context, _begin) as pool:
        begun: deque[tuple[T, Job, Future[Labelled]]] = deque()
        try:
            for what, job in jobs:
                begun.append((what, job, pool.submit(_label, job)))
                if len(begun) > _AHEAD * num_workers:
                    yield _wait(*begun.popleft())
            while begun:
                yield _wait(*begun.popleft())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _wait(what: T, job: Job, future: Future[Labelled]) -> tuple[T, Job, Labelled]:
    try:
        return what, job, future.result()
    except BrokenProcessPool as error:
        raise InfrastructureError(
            f"{job.piece.path}: a process that labels it was killed, maybe for want of memory; fix: take fewer --workers, then "
            "run the same again: it goes on"
        ) from error


def _begin() -> None:
    """Run first in each process: one thread, no answer to Ctrl-C, which the parent takes, and no life without the parent."""
    os.environ.update(_ONE_THREAD)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _label(job: Job) -> Labelled:
    from pipeline.answers import label_piece  # not before `_begin`: what it imports asks once how many threads it may use

    return label_piece(job)
