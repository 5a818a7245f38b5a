"""The registered tagger beside spaCy's and Stanza's on the same words: latency, throughput, memory, start, size.

    python benchmarks/serving.py [--rounds 3] [--only ours,spacy,stanza] [--name pos]

Asks `models:/<name>@champion` of the current folder's store, and taggers that spaCy and Stanza train on the same
data/<name>/prepared: shortly, for speed does not depend on how well a tagger is trained. Accuracies are told to show that all do
their work; they do not compare the libraries. Each runs in an environment of its own in .unroll/bench/peers of this repository,
kept between runs, as are the two trained taggers. Stanza's published models also read pre-trained vectors, and the larger ones a
character model; both would only make it slower. Its environment is as large as the build of torch that uv finds.

All get the test split's words, cut already, in fresh processes with the same cores; a round asks each system once, and each round
begins with another one. Printed are medians over the rounds, as Markdown. `alone` is each sentence by itself, in process or over
REST with one client; `batch` all sentences, with the fastest of three batch sizes; in its first pass nearly all words are new to
the process. `cores` is processor time over time in `batch`; `load` counts imports, of a server until it answers.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import polars as pl
from machine import Watch, describe
from rest import clean_environment, measure_rest
from served import make_environment

from pipeline import versions

HERE = Path(__file__).parent
KEPT = HERE.parent / ".unroll" / "bench" / "peers"
SIZES = (32, 256, 1024)
"""Sentences per batch that are tried."""
TRAINED = {"spacy": "spacy_tagger.py", "stanza": "stanza_tagger.py"}
Found = dict[str, float]


@dataclass
class System:
    """A way to ask a tagger, and what was found of it.

    Attributes:
        title: in the table.
        script: in benchmarks/peers; variant: see there.
        python: of its environment.
        megabytes: of that.
        model: its folder.
        size: sentences per batch, once the fastest is known.
        alone, batch: of each round.
    """

    title: str
    script: str
    variant: str
    python: Path
    megabytes: str
    model: Path
    size: int = SIZES[0]
    alone: list[Found] = field(default_factory=list)
    batch: list[Found] = field(default_factory=list)

    def ask(self, kind: str, size: int, test: Path) -> Found:
        """Ask in a fresh process."""
        command = [str(self.python), str(HERE / "peers" / self.script), kind, self.variant, str(size), str(self.model), str(test)]
        return json.loads(run(command).splitlines()[-1])

    def tune(self, test: Path) -> None:
        """Find the fastest batch size."""
        self.size = max(SIZES, key=lambda size: self.ask("batch", size, test)["words_per_second"])

    def row(self) -> list[str]:
        """Give the line of the table."""
        alone, batch = partial(_median, self.alone), partial(_median, self.batch)
        either = batch if self.batch else alone
        return [
            self.title,
            f"{alone('p50'):.2f}",
            f"{alone('p99'):.2f}",
            f"{batch('words_per_second'):,.0f} ({_spread(self.batch)})" if self.batch else "",
            f"{batch('first'):,.0f}" if self.batch else "",
            str(self.size) if self.batch else "1",
            f"{batch('cores'):.1f}" if self.batch else "",
            f"{max(found['peak_mb'] for found in self.batch or self.alone):,.0f}",
            f"{either('load_seconds'):.1f}",
            self.megabytes,
            f"{either('accuracy'):.2%}",
        ]


HEADINGS = ("", "alone p50, ms", "p99, ms", "batch, words/s", "first pass", "batch size", "cores", "peak MB")
HEADINGS += ("load, s", "environment, MB", "accuracy")


def _median(rounds: list[Found], key: str) -> float:
    return statistics.median(found[key] for found in rounds)


def _spread(rounds: list[Found]) -> str:
    speeds = [found["words_per_second"] for found in rounds]
    return f"{min(speeds):,.0f} to {max(speeds):,.0f}"


def run(command: list[str]) -> str:
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def set_up_uv() -> None:
    """Let uv look for wheels where pip is told to look, and compile bytecode, so that no start has to."""
    asked = subprocess.run([sys.executable, "-m", "pip", "config", "get", "global.find-links"], capture_output=True, text=True)
    os.environ.setdefault("UV_FIND_LINKS", asked.stdout.strip())
    os.environ.setdefault("UV_COMPILE_BYTECODE", "true")
    os.environ.setdefault("UV_SYSTEM_CERTS", "true")


def environment(name: str, requirements: Path) -> tuple[Path, str]:
    """Make an environment unless it is there; returns its Python and its megabytes, as they were when it was new."""
    wanted = requirements.read_bytes()
    folder = KEPT / f"{name}-{hashlib.sha256(wanted).hexdigest()[:8]}"
    note = folder / "megabytes.txt"
    if not note.exists():
        say(f"{name}: a new environment of {' '.join(wanted.decode().split())}")
        shutil.rmtree(folder, ignore_errors=True)
        note.write_text(make_environment(requirements, folder)[1][0], encoding="utf-8")
    return folder / "bin" / "python", note.read_text(encoding="utf-8")


def write_words(prepared: Path) -> Path:
    """Write each split's words and labels as JSON, for Pythons without parquet; returns their folder, named after them."""
    files = {split: prepared / f"{split}.parquet" for split in ("train", "val", "test")}
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files.values())).hexdigest()[:8]
    folder = KEPT / f"words-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    for split, path in files.items():
        frame = pl.read_parquet(path, columns=["tokens", "labels"])
        (folder / f"{split}.json").write_text(json.dumps(frame.to_dict(as_series=False), ensure_ascii=False), encoding="utf-8")
    return folder


def train(name: str, python: Path, words: Path) -> Path:
    """Train a peer's tagger, unless that was done with these words."""
    folder, done = words / name, words / f"{name}.done"
    if not done.exists():
        begun = time.perf_counter()
        shutil.rmtree(folder, ignore_errors=True)
        splits = [str(words / f"{split}.json") for split in ("train", "val")]
        run([str(python), str(HERE / "peers" / TRAINED[name]), "train", *splits, str(folder)])
        done.touch()
        say(f"{name}: trained in {time.perf_counter() - begun:.0f} s")
    return folder


def systems(names: list[str], model: Path, words: Path) -> list[System]:
    """Make all that is needed to ask the systems of these names."""
    found = []
    if "ours" in names:
        place = environment("ours", model / "requirements.txt")
        ways = {"ours, as MLflow's model": "pyfunc", "ours, its labeler": "onnx", "ours, its labeler, int8": "int8"}
        found += [System(title, "ours.py", variant, *place, model) for title, variant in ways.items()]
    cores = str(len(os.sched_getaffinity(0)))
    spacy, stanza = (
        {"spaCy": "1", f"spaCy, {cores} processes": cores},
        {f"Stanza, {cores} threads": cores, "Stanza, 1 thread": "1"},
    )
    for name, ways in {"spacy": spacy, "stanza": stanza}.items():
        if name in names:
            place = environment(name, HERE / "peers" / f"{name}.txt")
            trained = train(name, place[0], words)
            found += [System(title, TRAINED[name], variant, *place, trained) for title, variant in ways.items()]
    return found


def measure(asked: list[System], server: System | None, test: Path, rounds: int, watch: Watch) -> None:
    """Ask all systems in every round, each round beginning with another one."""
    given = json.loads(test.read_text(encoding="utf-8"))
    for system in asked:
        system.tune(test)
        say(f"{system.title}: {system.size} sentences per batch")
    for number in range(rounds):
        start = number % len(asked)
        for system in asked[start:] + asked[:start]:
            watch.look()
            system.alone.append(system.ask("single", 1, test))
            system.batch.append(system.ask("batch", system.size, test))
            say(f"round {number + 1} of {rounds}: {system.title}, {system.batch[-1]['words_per_second']:,.0f} words/s")
        if server:
            server.alone.append(measure_rest(server.python, server.model, given, KEPT / "server.log"))


def say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="pos", help="of the registered tagger")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="ours,spacy,stanza")
    options = parser.parse_args()
    set_up_uv()
    model = versions.download_model(f"models:/{options.name}@champion").parent.parent
    words = write_words(Path("data") / options.name / "prepared")
    asked, watch = systems(options.only.split(","), model, words), Watch()
    ours = [system for system in asked if system.script == "ours.py"]
    server = System("ours, over REST", "", "", ours[0].python, ours[0].megabytes, model) if ours else None
    measure(asked, server, words / "test.json", options.rounds, watch)
    about, load = describe(), watch.summary()
    cores = len(os.sched_getaffinity(0))
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, {about['commit']}, {about['processor']}, {cores} cores for each, ", end="")
    print(f"{options.rounds} rounds; others took {load['others']:.0%} of the processor, its host {load['stolen']:.0%}\n")
    print(f"| {' | '.join(HEADINGS)} |\n| --- |{' ---: |' * (len(HEADINGS) - 1)}")
    for system in [*asked, *([server] if server else [])]:
        print(f"| {' | '.join(system.row())} |")


if __name__ == "__main__":
    main()
