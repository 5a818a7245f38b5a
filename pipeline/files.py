"""Files labelled into files: one, or a folder of them, each a shard; on all cores, in bounded memory, to go on where it ended.

An input is read piece by piece, and the answers to each piece are flushed to the disk before it counts as done: see
`pipeline.parts`. A folder's shards keep beside their outputs which of them are finished, and for what.
"""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console

from pipeline.addresses import find_model
from pipeline.digest import file_sha256
from pipeline.environment import is_private
from pipeline.errors import ParamsError
from pipeline.formats import FORMATS
from pipeline.inputs import PIECE_BYTES, FormatName, Place, format_of
from pipeline.manifest import MANIFEST, check_manifest
from pipeline.parts import Identity, Output
from pipeline.processes import label_each
from pipeline.progress import speed_bar
from pipeline.tasks import Job, Task

if TYPE_CHECKING:
    from pipeline.engines import EngineName

STATES = ".unroll"
"""In a folder of outputs, what is known of each."""


@dataclass(frozen=True)
class Shard:
    """An input, its output, the folder for what is written until that is whole, and how to label it."""

    path: Path
    out: Path
    folder: Path
    task: Task

    def open(self) -> Output:
        """Begin the output, or go on with it."""
        return Output(self.out, self.folder, self._identity(), self.task.form)

    def _identity(self) -> Identity:
        found = self.path.stat()
        manifest = self.task.model / MANIFEST
        return {
            "input": str(self.path.resolve()),
            "input's size": found.st_size,
            "input's time": found.st_mtime_ns,
            "model": file_sha256(manifest),
            "engine": self.task.engine,
            "format": self.task.format,
            "form": self.task.form,
            "pieces": PIECE_BYTES,
        }


def run(
    source: Path, out: Path, model: str, *, engine: "EngineName", input_format: FormatName | None, num_workers: int | None
) -> None:
    """Label a file, or each file of a folder.

    Args:
        source: a file, or a folder of them.
        out: the file for the answers, whose ending says their form; or a folder for files of the same names.
        model: an MLflow address such as `models:/pos@champion`, or a model folder.
        engine: what runs the network; see `pipeline.engines`.
        input_format: of the input, else what a file's ending says.
        num_workers: processes that label, of which no more are begun than there are pieces; by default one per core. On the
            cluster in `RAY_ADDRESS`, to which a folder's files go, it is one per core there.

    Raises:
        ParamsError: there is no such input or model, or they do not fit.
        DataError: an input is malformed; naming the line.
        InfrastructureError: the disk is full, or a process was killed. What is done stays; the same again goes on.
    """
    folder = find_model(model).resolve()
    check_manifest(folder)
    if source.is_dir():
        _run_shards(_shards(source.resolve(), out.resolve(), folder, engine, input_format), out.resolve(), num_workers)
        return
    task = _task(folder, engine, input_format or format_of(source), out)
    shard = Shard(source, out, out.with_name(f"{out.name}.partial"), task)
    label([shard], num_workers)
    shutil.rmtree(shard.folder)


def _run_shards(shards: list[Shard], out: Path, num_workers: int | None) -> None:
    if is_private():
        label(shards, num_workers)
        return
    from pipeline import shards as on_cluster  # Ray takes seconds, and is not wanted without a cluster

    on_cluster.run(shards, out)


def _shards(source: Path, out: Path, model: Path, engine: "EngineName", input_format: FormatName | None) -> list[Shard]:
    if out == source:
        raise ParamsError(f"--out {out}: is the input; fix: name another folder")
    paths = sorted(path for path in source.iterdir() if path.is_file() and not path.name.startswith("."))
    if not paths:
        raise ParamsError(f"{source}: has no files; fix: name a file or a folder of files")
    outs = [out / path.name for path in paths]
    tasks = [_task(model, engine, input_format or format_of(path), out) for path, out in zip(paths, outs, strict=True)]
    return [Shard(path, out, out.parent / STATES / out.name, task) for path, out, task in zip(paths, outs, tasks, strict=True)]


def _task(model: Path, engine: "EngineName", input_format: FormatName, out: Path) -> Task:
    form = format_of(out)
    if form == "conllu" != input_format:
        raise ParamsError(
            f"--out {out}: CoNLL-U comes of CoNLL-U alone; the input is {input_format}; fix: give it another ending"
        )
    return Task(model, engine, input_format, form)


def label(shards: Sequence[Shard], num_workers: int | None = None) -> None:
    """Label shards one after the other, passing over those that are finished."""
    for shard in shards:
        _check(shard)
    num_pieces = sum(-(-shard.path.stat().st_size // PIECE_BYTES) for shard in shards)
    most = num_workers or len(os.sched_getaffinity(0))
    with ExitStack() as opened, Bar(shards) as bar:
        labelled = label_each(_jobs(shards, opened, bar), max(1, min(most, num_pieces)))
        for (shard, output), group in groupby(labelled, key=itemgetter(0)):
            for _, job, done in group:
                output.add(done.data, job.piece.end)
                bar.move(shard, job.piece.end, done.num_words)
            output.finish()


def _check(shard: Shard) -> None:
    try:
        shard.path.open("rb").close()
    except OSError as error:
        raise ParamsError(
            f"{shard.path}:1:1: can not be read; {error.strerror}; fix: name a file, or a folder of files"
        ) from error
    if not shard.path.is_file():
        raise ParamsError(f"{shard.path}:1:1: is no file, of which a part can be read again; fix: save it as one")
    if shard.out.is_dir():
        raise ParamsError(f"--out {shard.out}: is a folder; the answers to a file make one; fix: name a file")
    if shard.out.exists() and shard.out.samefile(shard.path):
        raise ParamsError(f"--out {shard.out}: is the input; fix: name another file")


def _jobs(shards: Sequence[Shard], opened: ExitStack, bar: "Bar") -> Iterator[tuple[tuple[Shard, Output], Job]]:
    for shard in shards:
        output = opened.enter_context(closing(shard.open()))
        bar.move(shard, output.place)
        if output.is_whole:
            output.finish()
            continue
        for piece in FORMATS[shard.task.format].cut(shard.path, output.place):
            yield (shard, output), Job(piece, shard.task)


class Bar:
    """Shows in a terminal how far the labelling is; used as a context."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._bar = speed_bar(Console(stderr=True, highlight=False))
        self._task = self._bar.add_task("labels", total=len(shards), speed="")
        self._places = {shard: number for number, shard in enumerate(shards)}
        self._num_words, self._num_finished, self._begun = 0, 0, time.monotonic()

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def finish(self, shard: Shard) -> None:
        """Say that a shard is finished."""
        self._num_finished += 1
        self._bar.update(self._task, description=shard.path.name, completed=self._num_finished)

    def move(self, shard: Shard, place: Place, num_words: int = 0) -> None:
        """Say how far a shard is read, and how many words were labelled for it since."""
        self._num_words += num_words
        share = place.offset / max(1, FORMATS[shard.task.format].measure(shard.path))
        speed = self._num_words / (time.monotonic() - self._begun)
        number = self._places[shard]
        self._bar.update(
            self._task, description=shard.path.name, completed=number + share, speed=f"{speed:,.0f} words/s" if speed else ""
        )
