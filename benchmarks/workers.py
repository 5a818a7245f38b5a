"""What more workers change, which is the time alone: losses and weights beside those of one worker, and examples per second.

    python benchmarks/workers.py [--pipeline ewt] [--epochs 3] [--sentences 1500] [--rounds 5] [--sequences 32 64]

Trains a pipeline of benchmarks/params.yaml, all dropout on, in gloo processes of one thread each; for the table, its steps
whole or in four parts that all numbers of workers share.
"""

import argparse
import json
import os
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from corpora import make_project
from ours import read_params
from processes import ROOT
from torch import distributed, multiprocessing

from models.config import Sizes
from models.network import build_network
from pipeline.environment import MEMORY
from pipeline.examples import Examples
from pipeline.loop import DTYPES, Training, fit
from pipeline.messages import EpochResult

SIZES = (1, 2, 4)


def first(examples: Examples, number: int) -> Examples:
    """Take the first sequences alone."""
    offsets = examples.offsets[: number + 1]
    return replace(examples, offsets=offsets, labels=examples.labels[: offsets[-1]])


def worker(rank: int, world_size: int, options: argparse.Namespace, changes: dict[str, Any], folder: str) -> None:
    """Train as one of several; the first writes every epoch's loss, score and seconds, and its weights."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world_size)
    encoded = options.project / "data" / options.pipeline / "encoded"
    options.cell, options.layers, options.seed, options.precision = "lstm", 1, 1, "float32"
    model, config = read_params(options)
    config = replace(config, **changes)
    sizes = Sizes.load(json.loads((encoded / "summary.json").read_text(encoding="utf-8"))["sizes"])
    train, val = (first(Examples.open(encoded, split), number) for split, number in (("train", options.sentences), ("val", 200)))
    training = Training(build_network(model, sizes, config.seed).to(DTYPES[config.precision]), config)
    rows = []
    for result in fit(training, train, val, None, torch.device("cpu")):
        if isinstance(result, EpochResult):
            weights = np.concatenate([value.double().numpy().ravel() for value in training.network.state_dict().values()])
            if rank == 0:
                np.save(f"{folder}/{result.epoch}.npy", weights)
            rows.append({key: result.metrics[key] for key in ("train/loss", "val/loss", "val/accuracy", "train/seconds")})
    if rank == 0:
        Path(folder, "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    distributed.barrier()
    distributed.destroy_process_group()


def train(world_size: int, options: argparse.Namespace, **changes: Any) -> tuple[list[tuple[dict[str, float], Any]], float]:
    """Give every epoch's row and weights, and examples per second; `changes` are of the loop's params."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = (world_size, options, changes, folder)
        multiprocessing.start_processes(worker, arguments, nprocs=world_size, start_method="spawn")
        rows = json.loads(Path(folder, "rows.json").read_text(encoding="utf-8"))
        weights = [np.load(f"{folder}/{number}.npy") for number in range(1, len(rows) + 1)]
    return list(zip(rows, weights, strict=True)), options.sentences * len(rows) / rows[-1]["train/seconds"]


def compare(options: argparse.Namespace) -> None:
    """Print how far losses and weights of several workers are from those of one."""
    print("| precision | parts | workers | epoch | train/loss off by | val/loss off by | a weight off by | val/accuracy |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for precision, parts in (("float64", 1), ("float32", 1), ("float32", 4)):
        alone, _ = train(1, options, precision=precision, accumulate=parts)
        for world_size in SIZES[1:]:
            rows, _ = train(world_size, options, precision=precision, accumulate=parts)
            for number, ((row, weights), (row_alone, weights_alone)) in enumerate(zip(rows, alone, strict=True), start=1):
                off = [abs(row[key] - row_alone[key]) for key in ("train/loss", "val/loss")]
                apart = np.abs(weights - weights_alone).max()
                score = f"{row['val/accuracy']:.4f} ({row_alone['val/accuracy']:.4f})"
                place = f"{precision} | {parts if parts > 1 else 'one per worker'} | {world_size} | {number}"
                print(f"| {place} | {off[0]:.1e} | {off[1]:.1e} | {apart:.1e} | {score} |", flush=True)


def race(options: argparse.Namespace) -> None:
    """Print examples per second of one worker and of two, taken in turns, for steps of several sizes."""
    print("| sentences a step | one worker | two | two over one |")
    print("| ---: | ---: | ---: | ---: |")
    for sequences in options.sequences:
        speeds: dict[int, list[float]] = {1: [], 2: []}
        for number in range(options.rounds):
            for world_size in (1, 2) if number % 2 else (2, 1):
                speeds[world_size].append(train(world_size, options, batch_sequences=sequences)[1])
        ratios = [two / one for one, two in zip(speeds[1], speeds[2], strict=True)]
        cells = [f"{statistics.median(found):,.0f} ({min(found):,.0f} to {max(found):,.0f})" for found in speeds.values()]
        cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        print(f"| {sequences} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, default=ROOT / ".unroll" / "bench", help="where the corpora are kept")
    parser.add_argument("--pipeline", default="ewt")
    for name, value in {"epochs": 3, "sentences": 1500, "rounds": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--sequences", type=int, nargs="+", default=[32, 64, 128], help="of a step, over all workers")
    parser.add_argument("--only", choices=["compare", "race"])
    options = parser.parse_args()
    options.project = options.project.resolve()
    make_project(options.project)
    os.environ.update(MEMORY)  # as every worker of `unroll train` has it
    if options.only != "race":
        compare(options)
    if options.only != "compare":
        race(options)


if __name__ == "__main__":
    main()
