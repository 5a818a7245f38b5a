"""Our training loop on an encoded corpus, in gloo workers of one thread each, without Ray; JSON lines as plain_torch.py's.

python benchmarks/ours.py --project .unroll/bench --pipeline ewt [--workers 2] [--epochs 5] [--cell gru] [--layers 2]
"""

import argparse
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from peak import peak_mb
from torch import distributed, multiprocessing

from models.config import ModelConfig, Sizes
from models.network import build_network
from pipeline.config import TrainConfig
from pipeline.environment import MEMORY
from pipeline.examples import Examples
from pipeline.loop import Training, evaluate, fit
from pipeline.messages import EpochResult, StepResult
from pipeline.params import load_config
from pipeline.world import World


def say(event: str, **values: float) -> None:
    if World.current().rank == 0:
        print(json.dumps({"event": event, **values}), flush=True)


def worker(rank: int, options: argparse.Namespace, address: str) -> None:
    """Train as one of `options.workers` processes, then score the test split with all of them."""
    torch.set_num_threads(options.threads)
    if options.workers > 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=options.workers)
    encoded = options.encoded or options.project / "data" / options.pipeline / "encoded"
    model, config = read_params(options)
    sizes = Sizes.load(json.loads((encoded / "summary.json").read_text(encoding="utf-8"))["sizes"])
    train, val, test = (Examples.open(encoded, split) for split in ("train", "val", "test"))
    training = Training(build_network(model, sizes, config.seed), config)
    num_parameters = sum(parameter.numel() for parameter in training.network.parameters())
    say("data", words=int(train.offsets[-1]), examples=len(train), parameters=num_parameters)
    run_epochs(training, train, val, options.steps)
    for _ in range(3):
        start = time.perf_counter()
        score = evaluate(training.network, test, None, torch.device("cpu"))["accuracy"]
        say("inference", encoded=int(test.offsets[-1]) / (time.perf_counter() - start))
    peaks = torch.tensor([peak_mb() if number == rank else 0.0 for number in range(options.workers)])
    World.current().sum(peaks)
    say("end", peak_mb=float(peaks.sum()), peak_mb_per_worker=float(peaks.max()), test=score)
    if options.workers > 1:
        distributed.destroy_process_group()


def read_params(options: argparse.Namespace) -> tuple[ModelConfig, TrainConfig]:
    """Give the pipeline's network and loop, with the cell, layers, epochs and seed that were asked for."""
    config, _ = load_config(options.project / "params.yaml", options.project / "corpora.yaml")
    params = config.pipelines[options.pipeline]
    model = replace(params.model, cell=options.cell, hidden=params.model.hidden * options.layers)
    if options.cell == "gru" and model.char_hidden:
        model = replace(model, char_encoder="gru")
    epochs = options.epochs or params.train.epochs
    return model, replace(params.train, epochs=epochs, seed=options.seed, precision=options.precision)


def run_epochs(training: Training, train: Examples, val: Examples, num_steps: int) -> None:
    """Train to the end, or for a few steps of the first epoch."""
    for result in fit(training, train, val, None, torch.device("cpu")):
        if isinstance(result, EpochResult):
            row = result.metrics
            say("epoch", epoch=result.epoch, words_per_second=row["train/tokens_per_second"], val=row["val/accuracy"])
        elif result.epoch == result.step == 1:
            say("first_step")
        if isinstance(result, StepResult) and result.step == num_steps:
            say("epoch", epoch=1, words_per_second=result.tokens_per_second)
            return


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, required=True, help="a folder with params.yaml, corpora.yaml and data/")
    parser.add_argument("--pipeline", default="ewt")
    parser.add_argument("--encoded", type=Path, help="another encoded corpus than the pipeline's")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--cell", choices=["simple_rnn", "lstm", "gru"], default="lstm")
    for name, value in {"layers": 1, "workers": 2, "threads": 1, "epochs": 0, "steps": 0, "seed": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    return parser.parse_args()


def main() -> None:
    options = parse()
    if options.workers == 1:
        worker(0, options, "")
        return
    os.environ.update(MEMORY)  # as every worker of `unroll train` has it
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.start_processes(worker, (options, f"file://{folder}/meet"), nprocs=options.workers, start_method="spawn")


if __name__ == "__main__":
    main()
