"""Everything that is measured, ours beside plain torch on the same machine at the same time.

    python benchmarks/run.py [--full] [--only train,score,...] [--rounds N]

Every contender runs in a fresh process; rounds are interleaved, and each begins with another one. Medians and the whole spread
are shown; a ratio is the median of the rounds' own ratios. Writes benchmarks/latest.json and benchmarks/latest.png, and prints
a section for RESULTS.md. Quick: the first 80 steps of an epoch. Full: whole epochs, all networks, accuracies.
"""

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from contenders import (
    CONTENDERS,
    OURS,
    OURS_LOW,
    PLAIN,
    REFERENCE,
    Outcome,
    Place,
    Work,
    able,
    plain,
    reference,
    reference_script,
    unroll_train,
)
from corpora import make_project
from floor import TRAINING, flops_per_word
from machine import Watch, describe
from processes import ROOT, events
from report import Rows, chart, markdown, show

from pipeline.params import load_config

HERE = Path(__file__).parent
SCORE = 0.94
QUICK_STEPS = 80
"""Of an epoch of EWT's 392."""
FLOOR = "floor: the matrix products alone"
EWT_CHARS_PER_WORD, EWT_LABELS = 4.04, 17
"""Of its train split; the floor's arithmetic needs them."""


@dataclass
class Session:
    """What all measurements share: how thorough, where, and what the machine did meanwhile."""

    is_full: bool
    rounds: int
    place: Place
    watch: Watch

    def interleave(self, contenders: dict[str, Callable[[], Outcome]], rounds: int) -> dict[str, list[Outcome]]:
        """Run all contenders once per round, each round beginning with another one."""
        found: dict[str, list[Outcome]] = {name: [] for name in contenders}
        names = list(contenders)
        for number in range(rounds):
            start = number % len(names)
            for name in names[start:] + names[:start]:
                self.watch.look()
                begun = time.perf_counter()
                outcome = contenders[name]()
                found[name].append(outcome)
                seconds, speed = time.perf_counter() - begun, f"{outcome.train[-1]:,.0f} words/s" if outcome.train else ""
                print(f"  round {number + 1} of {rounds}: {name}, {seconds:.0f} s, {speed}", file=sys.stderr, flush=True)
        return found


Measured = tuple[list[Rows], dict[str, Any]]


def measure_train(session: Session) -> Measured:
    """Training and inference of the EWT tagger, memory and first step, and the floor in every round."""
    work = Work(steps=0 if session.is_full else QUICK_STEPS)
    speeds = Rows("Training, EWT tagger", "words/s")
    inference, memory = Rows("Inference from encoded words", "words/s"), Rows("Peak memory of all workers", "MB")
    first = Rows("From start to the first step", "s", digits=1)
    names = able(CONTENDERS if session.is_full else (OURS, OURS_LOW, PLAIN))
    contenders = {name: partial(CONTENDERS[name], session.place, work) for name in names}
    if reference_script() and session.is_full:
        contenders[REFERENCE] = partial(reference, session.place, work)
    floors = []
    for _ in range(session.rounds):
        found = session.interleave(contenders, 1)
        floors.append(_floor(session))
        for name, outcomes in found.items():
            outcome = outcomes[0]
            speeds.add(name, outcome.train)
            inference.add(name, outcome.inference)
            first.add(name, [outcome.first_step_seconds] if outcome.first_step_seconds else [])
            memory.add(name, [outcome.peak_mb] if outcome.peak_mb else [])
        speeds.add(FLOOR, [floors[-1]["words_per_second"]])
        contenders = dict([*list(contenders.items())[1:], next(iter(contenders.items()))])
    if reference_script() and not session.is_full:
        outcome = reference(session.place, work)
        speeds.add(REFERENCE, outcome.train)
        inference.add(REFERENCE, outcome.inference)
    summary = {
        "train": _pair(speeds) | {"floor_share": speeds.ratio(OURS, FLOOR)},
        "train_bfloat16": _pair(speeds, OURS_LOW) | {"floor_share": speeds.ratio(OURS_LOW, FLOOR)},
        "inference": _pair(inference),
        "peak_mb": _pair(memory),
        "floor": floors,
    }
    return [speeds, inference, memory, first], summary


def _pair(rows: Rows, ours: str = OURS) -> dict[str, float | None]:
    return {"ours": rows.median(ours), "plain_torch": rows.median(PLAIN), "ratio": rows.ratio(ours, PLAIN)}


def _floor(session: Session) -> dict[str, float]:
    """Give the words per second of a training that did nothing but this network's matrix products, at a large one's speed."""
    gflops = events([str(HERE / "floor.py")])[0]["all"]
    config, _ = load_config(session.place.project / "params.yaml", session.place.project / "corpora.yaml")
    flops = flops_per_word(config.pipelines["ewt"].model, EWT_LABELS, EWT_CHARS_PER_WORD)
    return {"gflops": gflops, "flops_per_word": flops, "words_per_second": gflops * 1e9 / (TRAINING * flops)}


def measure_score(session: Session) -> Measured:
    """Seconds from the start of the process until an epoch with the score was reported: `unroll train`, and the bar's script."""
    rows = Rows(f"From start to {SCORE:.1%} validation accuracy", "s", digits=1)
    contenders = {
        OURS: partial(unroll_train, session.place, "ewt"),
        PLAIN: partial(plain, session.place, Work(epochs=5, until=SCORE)),
    }
    if session.is_full:
        contenders[f"{PLAIN}, at our learning rate"] = partial(plain, session.place, Work(epochs=5, until=SCORE), lr=4e-3)
    found = session.interleave(contenders, 3 if session.is_full else 1)
    for name, outcomes in found.items():
        for outcome in outcomes:
            seconds = outcome.seconds_to(SCORE)
            rows.add(name, [] if seconds is None else [seconds])
    curves = {name: [outcome.val for outcome in outcomes] for name, outcomes in found.items()}
    return [rows], {"seconds_to_score": _pair(rows) | {"score": SCORE, "curves": curves}}


def measure_networks(session: Session) -> Measured:
    """Other cells, and two layers."""
    works = {
        "GRU": Work(cell="gru"),
        "simple RNN": Work(cell="simple_rnn"),
        "LSTM, 2 layers": Work(layers=2),
    }
    return _speeds(session, {f"Training, {name}": work for name, work in works.items()}, "networks")


def measure_classification(session: Session) -> Measured:
    """Texts instead of words: short questions, and long news."""
    works = {"Training, TREC, BiLSTM 2 x 128": Work("trec", epochs=2), "Training, R8, BiLSTM 2 x 128": Work("r8")}
    return _speeds(session, works, "classification")


def _speeds(session: Session, works: dict[str, Work], key: str) -> Measured:
    tables, summary = [], {}
    for title, work in works.items():
        is_tagging = work.pipeline == "ewt"
        rows = Rows(title, "words/s" if is_tagging else "examples/s")
        cut = work if session.is_full or work.pipeline == "trec" else replace(work, steps=QUICK_STEPS)
        contenders = {name: partial(CONTENDERS[name], session.place, cut) for name in able((OURS, OURS_LOW, PLAIN))}
        for name, outcomes in session.interleave(contenders, session.rounds).items():
            for outcome in outcomes:
                rows.add(name, [speed * (1 if is_tagging else outcome.examples_per_word) for speed in outcome.train])
        tables.append(rows)
        summary[title] = _pair(rows)
    return tables, {key: summary}


def measure_accuracy(session: Session) -> Measured:
    """Validation accuracy after five epochs, over three seeds."""
    tables, summary = [], {}
    for pipeline in ("ewt", "trec", "r8") if session.is_full else ("ewt",):
        rows = Rows(f"Validation accuracy after 5 epochs, {pipeline}", "%", digits=2)
        for seed in (1, 2, 3):
            work = Work(pipeline, epochs=5, seed=seed)
            contenders = {name: partial(CONTENDERS[name], session.place, work) for name in able((OURS, OURS_LOW, PLAIN))}
            for name, outcomes in session.interleave(contenders, 1).items():
                rows.add(name, [100 * outcomes[0].val[-1][1]])
        tables.append(rows)
        summary[pipeline] = _pair(rows)
    return tables, {"accuracy": summary}


def _sibling(name: str) -> ModuleType | None:
    """Import a module that measures something of its own, where there is one."""
    if (HERE / f"{name}.py").exists():
        return importlib.import_module(name)
    print(f"  {name}: not measured, there is no {name}.py", file=sys.stderr)
    return None


def measure_text(session: Session) -> Measured:
    """Inference from texts to labels as text, by each engine, with the model of `score`; ours is onnx, as in `unroll predict`.

    Plain torch gets the test split once, and as words.
    """
    module, folder = _sibling("inference"), session.place.project / "data" / "ewt"
    if module is None or not (folder / "model").exists():
        return [], {"text_inference": None}
    rows = Rows("Inference from text to labels", "words/s")
    lines = session.place.files["ewt"].test.read_text(encoding="utf-8").splitlines()
    texts = [line.removeprefix("# text = ") for line in lines if line.startswith("# text = ")]
    texts = module.repeat_to(texts, 1_000_000 if session.is_full else 100_000)
    engines: list[str] = list(module.ENGINES)
    for _ in range(session.rounds):
        for engine in engines:
            found = module.measure_apart(folder / "model", texts, engine)
            rows.add(OURS if engine == "onnx" else f"{OURS}, {engine}", [found["words_per_second"]])
        rows.add(PLAIN, plain(session.place, Work(steps=1)).text_inference)
        engines = [*engines[1:], engines[0]]
    return [rows], {"text_inference": _pair(rows)}


def measure_reading(session: Session) -> Measured:
    """From raw files to arrays."""
    module = _sibling("reading")
    found = module.measure(1000 if session.is_full else 100) if module else None
    return [], {"reading": found, "read_mb_per_s": found["both MB/s"] if found else None}


def measure_startup(session: Session) -> Measured:
    """What passes before the first epoch, and after the last."""
    module = _sibling("startup")
    return [], {"startup": module.measure(session.rounds if session.is_full else 1) if module else None}


MEASUREMENTS: dict[str, Callable[[Session], Measured]] = {
    "train": measure_train,
    "score": measure_score,
    "classification": measure_classification,
    "networks": measure_networks,
    "accuracy": measure_accuracy,
    "text": measure_text,
    "reading": measure_reading,
    "startup": measure_startup,
}
QUICK = ("train", "score", "text", "reading", "startup")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="whole epochs, all networks, accuracies over three seeds")
    parser.add_argument("--only", default="", help=f"some of {','.join(MEASUREMENTS)}")
    parser.add_argument("--rounds", type=int, default=0, help="default: 3, or 5 with --full")
    parser.add_argument("--project", type=Path, default=ROOT / ".unroll" / "bench", help="where the corpora are kept")
    options = parser.parse_args()
    options.names = options.only.split(",") if options.only else list(MEASUREMENTS if options.full else QUICK)
    unknown = set(options.names) - set(MEASUREMENTS)
    if unknown:
        parser.error(f"--only {','.join(sorted(unknown))}: expected some of {','.join(MEASUREMENTS)}")
    return options


def main() -> None:
    options = parse()
    project = options.project.resolve()
    rounds = options.rounds or (5 if options.full else 3)
    session = Session(options.full, rounds, Place(project, make_project(project)), Watch())
    tables: list[Rows] = []
    result: dict[str, Any] = {"machine": describe(), "when": time.strftime("%Y-%m-%d %H:%M"), "is_full": options.full}
    for name in options.names:
        print(f"{name}:", file=sys.stderr, flush=True)
        measured, summary = MEASUREMENTS[name](session)
        tables += measured
        result |= {**summary, "busy": session.watch.summary(), "tables": {rows.title: rows.summary() for rows in tables}}
        (HERE / "latest.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    publish(result, tables, " ".join(["python benchmarks/run.py", *sys.argv[1:]]))


def publish(result: dict[str, Any], tables: list[Rows], command: str) -> None:
    if tables:
        chart(tables, OURS, HERE / "latest.png")
    show(tables, OURS)
    machine, busy = result["machine"], result["busy"]
    lead = (
        f"{result['when']}, commit {machine['commit']}, {machine['cores']} cores of {machine['processor']}, "
        f"torch {machine['torch']}. "
        f"Others took {busy['others']:.0%} of the processor between our processes, the host {busy['stolen']:.0%}."
    )
    if busy["is_busy"]:
        lead += " The machine was busy: believe the ratios, not the speeds."
    print(markdown(tables, OURS, f"Ours and plain torch: `{command}`", lead))


if __name__ == "__main__":
    main()
