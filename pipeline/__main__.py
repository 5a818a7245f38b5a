"""The command line: one command per stage, and what a person asks in between. Only the command at hand is imported."""

import logging
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from models.config import Task
from pipeline import logs
from pipeline.completion import complete_addresses, complete_models, complete_pipelines
from pipeline.config import Catalogue, Config, CorpusConfig, PipelineConfig
from pipeline.config import Format as Form
from pipeline.environment import set_environment
from pipeline.errors import ParamsError, UnrollError
from pipeline.layout import WORK_DIR, Layout
from pipeline.masking import mask, mask_logs
from pipeline.params import load_config, read_params
from pipeline.sweep_checks import check_sweep

if TYPE_CHECKING:
    from pipeline.scratch import Work

INTERRUPTED = 130

logger = logging.getLogger("pipeline")

app = typer.Typer(
    help="From labelled sequences to a trained, registered, served recurrent model.\n\n`make repro` runs every stage.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
_PIPELINE_HELP = "A pipeline of params.yaml."
Name = Annotated[str, typer.Option("--pipeline", "-p", help=_PIPELINE_HELP, autocompletion=complete_pipelines)]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Instead of what params.yaml says, this time: `train.lr=1e-3`. May be given again for other keys.",
    ),
]


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        print(f"unroll {version('unroll')}")
        raise typer.Exit


@app.callback()
def choose_logs(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell each step, and what libraries tell.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors alone.")] = False,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="Log JSON objects, on standard error.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Set what is logged of any command."""
    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.INFO
    logs.set_up(level, as_json=json_logs)
    if verbose and quiet:
        raise ParamsError("--verbose --quiet: ask for more and for less; fix: give one")


def _pipeline(name: str, settings: list[str] | None = None) -> tuple[Config, Catalogue, PipelineConfig, CorpusConfig, Layout]:
    config, catalogue = load_config(settings=settings or (), pipeline=name)
    if name not in config.pipelines:
        raise ParamsError(f"--pipeline {name}: not in params.yaml; fix: use one of {', '.join(sorted(config.pipelines))}")
    pipeline = config.pipelines[name]
    return config, catalogue, pipeline, catalogue.corpora[pipeline.corpus], Layout(name)


@app.command()
def fetch(pipeline: Name, settings: Settings = None) -> None:
    """Get a corpus, and check its hash. Example: `unroll fetch -p pos`"""
    _, catalogue, params, corpus, layout = _pipeline(pipeline, settings)
    from pipeline import fetch as stage

    vectors = (params.vectors, catalogue.vectors[params.vectors]) if params.vectors else None
    stage.run(params.corpus, corpus, layout, vectors)


@app.command()
def prepare(
    pipeline: Name,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at what is only warned of else.")] = False,
    settings: Settings = None,
) -> None:
    """Read a corpus into one schema, check and split it. Example: `unroll prepare -p pos`"""
    _, _, params, corpus, layout = _pipeline(pipeline, settings)
    from pipeline import prepare as stage

    stage.run(corpus, params.split, layout, is_strict=strict)


@app.command()
def check(
    targets: Annotated[
        list[str] | None,
        typer.Argument(help="Corpora of corpora.yaml, or files, the first of which is train. By default the pipelines' corpora."),
    ] = None,
    file_format: Annotated[Form | None, typer.Option("--format", help="Of files, by default what the ending says.")] = None,
    task: Annotated[Task | None, typer.Option(help="Of files: by default tagging for CoNLL-U and columns.")] = None,
    text: Annotated[str | None, typer.Option(help="Of files: the column with the text or word.")] = None,
    label: Annotated[str | None, typer.Option(help="Of files: the column with the label.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Take warnings for errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what is found as JSON.")] = False,
    settings: Settings = None,
) -> None:
    """Name what is malformed or suspicious in a corpus or in files. Example: `unroll check train.conllu test.conllu`"""
    config, catalogue = load_config(settings=settings or ())
    from pipeline import check as command

    used = {name: (pipeline.corpus, pipeline.split) for name, pipeline in config.pipelines.items()}
    named = targets or sorted({corpus for corpus, _ in used.values()})
    paths = [Path(name) for name in named if Path(name).is_file()]
    asked = [command.find_corpus(name, catalogue, used) for name in named if not Path(name).is_file()]
    if paths:
        asked.append(command.of_files(paths, file_format, task, text=text, label=label))
    command.run(asked, is_strict=strict, is_json=as_json)


@app.command()
def encode(pipeline: Name, settings: Settings = None) -> None:
    """Build vocabularies, turn words into numbers. Example: `unroll encode -p pos`"""
    _, catalogue, params, corpus, layout = _pipeline(pipeline, settings)
    from pipeline import encode as stage

    vectors = catalogue.vectors[params.vectors] if params.vectors else None
    stage.run(corpus, params.encode, vectors, layout)


@app.command()
def train(
    pipeline: Name,
    profile: Annotated[bool, typer.Option("--profile", help="Only show where the time of a step goes, on this machine.")] = False,
    settings: Settings = None,
) -> None:
    """Train the network on this machine or on the cluster in RAY_ADDRESS. Example: `unroll train -p pos`"""
    config, _, params, _, layout = _pipeline(pipeline, settings)
    if profile:
        from pipeline import profile as command

        command.run(params.model, params.train, config.scaling, layout)
        return
    from pipeline import train as stage

    stage.run(params.model, params.train, config.scaling, layout)


@app.command()
def evaluate(pipeline: Name, settings: Settings = None) -> None:
    """Score the model on the test split, beside floors. Example: `unroll evaluate -p pos`"""
    _, _, _, corpus, layout = _pipeline(pipeline, settings)
    from pipeline import evaluate as stage

    stage.run(corpus.task, layout)


@app.command()
def register(pipeline: Name, settings: Settings = None) -> None:
    """Make the model a version in MLflow's registry. Example: `unroll register -p pos`"""
    _, _, params, corpus, layout = _pipeline(pipeline, settings)
    from pipeline import register as stage

    stage.run(corpus, params.register, layout, corpus_name=params.corpus, params=params)


@app.command()
def run(
    pipeline: Name,
    fast_dev_run: Annotated[bool, typer.Option("--fast-dev-run", help="One batch through every stage, register too.")] = False,
    overfit_one_batch: Annotated[
        bool, typer.Option("--overfit-one-batch", help="Only train on one batch: can the network learn it by heart?")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would run, about how long, and how much memory it needs.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Examples of each split, at most.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Of --overfit-one-batch, at most.")] = 500,
    track: Annotated[bool, typer.Option("--track", help="Track the run in the real MLflow store.")] = False,
    settings: Settings = None,
) -> None:
    """Run the stages up to evaluate without DVC, in .unroll/run. Example: `unroll run -p pos --limit 500`"""
    chosen = {"--fast-dev-run": fast_dev_run, "--overfit-one-batch": overfit_one_batch, "--dry-run": dry_run}
    ways = [name for name, is_asked in chosen.items() if is_asked]
    if len(ways) > 1 or (ways and track) or (fast_dev_run and limit):
        wrong = [*ways, *(["--track"] if track else []), *(["--limit"] if limit else [])]
        raise ParamsError(f"{' '.join(wrong)}: can not be had together; fix: give one of them")
    config, catalogue, params, _, _ = _pipeline(pipeline, settings)
    from pipeline.scratch import Work, use_own_store

    work = replace(Work.of(pipeline, params, config.scaling, catalogue), num_examples=limit)
    if not track and not dry_run:
        use_own_store(work)
    _run_way(ways[0] if ways else "", work, steps)


def _run_way(way: str, work: "Work", steps: int) -> None:
    if way == "--overfit-one-batch":
        from pipeline import overfit

        overfit.run(work, steps)
    elif way == "--dry-run":
        from pipeline import forecast

        forecast.run(work)
    elif way == "--fast-dev-run":
        from pipeline.run import run_fast

        run_fast(work)
    else:
        from pipeline import run as stages

        stages.run(work)


@app.command()
def promote(
    name: Annotated[
        str, typer.Argument(help="A registered model, which has its pipeline's name.", autocompletion=complete_pipelines)
    ],
    version: Annotated[int, typer.Option(min=1, help="Its number.")],
    force: Annotated[bool, typer.Option("--force", help="Ask nothing but that the model is whole.")] = False,
    settings: Settings = None,
) -> None:
    """Make a version champion, if the gate lets it. Example: `unroll promote pos --version 3`"""
    gate = None
    if not force:
        _, _, params, corpus, layout = _pipeline(name, settings)
        from pipeline.promote import gate_of

        gate = gate_of(name, layout.prepared_dir, params.register, corpus.task)
    from pipeline.promote import promote
    from pipeline.tracking import in_use

    with in_use(WORK_DIR):
        promote(name, str(version), gate)


@app.command()
def rollback(name: Annotated[str, typer.Argument(help="A registered model.", autocompletion=complete_pipelines)]) -> None:
    """Make that version champion again which was it before. Example: `unroll rollback pos`"""
    from pipeline.promote import roll_back
    from pipeline.tracking import in_use

    with in_use(WORK_DIR):
        roll_back(name)


Address = Annotated[str, typer.Argument(help="A registered version: pos/3, or pos@champion.", autocompletion=complete_addresses)]


@app.command()
def lineage(address: Address) -> None:
    """Show where a version came from: run, commit, data, corpus, sweep. Example: `unroll lineage pos@champion`"""
    _, catalogue = load_config()
    from pipeline import lineage as command
    from pipeline.tracking import in_use

    with in_use(WORK_DIR):
        command.run(address, catalogue)


@app.command()
def reproduce(address: Address) -> None:
    """Make a version again from its commit, and compare weights and scores. Example: `unroll reproduce pos/3`"""
    from pipeline import reproduce as command

    command.run(address)


@app.command()
def sweep(
    pipeline: Annotated[
        str | None, typer.Option("--pipeline", "-p", help="Default: sweep.pipeline.", autocompletion=complete_pipelines)
    ] = None,
    settings: Settings = None,
) -> None:
    """Search for the best network and register it. Example: `unroll sweep -p pos`"""
    config, catalogue = load_config(settings=settings or (), pipeline=pipeline)
    if config.sweep is None:
        raise ParamsError("params.yaml:1:1: has no `sweep`; fix: add one, as the README shows")
    chosen = replace(config.sweep, pipeline=pipeline or config.sweep.pipeline)
    _, _, params, corpus, layout = _pipeline(chosen.pipeline, settings)
    wrong = [f"params.yaml: {'.'.join(it.keys)} {it.text}" for it in check_sweep(chosen, config, catalogue)]
    if wrong:
        raise ParamsError("\n".join(wrong))
    from pipeline import sweep as command

    command.run(chosen.pipeline, params, corpus, chosen, config.scaling, layout)


@app.command()
def adopt(
    pipeline: Annotated[
        str | None, typer.Option("--pipeline", "-p", help="Default: sweep.pipeline.", autocompletion=complete_pipelines)
    ] = None,
) -> None:
    """Change params.yaml to the best network of the last sweep. Example: `unroll adopt -p pos`"""
    config, _ = load_config()
    name = pipeline or (config.sweep.pipeline if config.sweep else None)
    if name is None:
        raise ParamsError("params.yaml:1:1: has no `sweep`; fix: name the pipeline with -p")
    _, _, _, _, layout = _pipeline(name)
    from pipeline import adopt as command

    command.run(layout)


@app.command("params")
def show_params(
    pipeline: Annotated[
        str | None, typer.Option("--pipeline", "-p", help="Default: all.", autocompletion=complete_pipelines)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, without remarks.")] = False,
    settings: Settings = None,
) -> None:
    """Print all params as they are in effect, defaults too. Example: `unroll params -p pos --set train.lr=1e-3`"""
    if pipeline is not None:
        _pipeline(pipeline, settings)
    from pipeline import effective as command

    command.run(read_params(settings=settings or (), pipeline=pipeline), pipeline, as_json=as_json)


Rows = Annotated[int | None, typer.Option(min=1, help="Instead of what the encoded corpus has.")]


@app.command()
def summary(
    pipeline: Name, num_words: Rows = None, num_chars: Rows = None, num_labels: Rows = None, settings: Settings = None
) -> None:
    """Show the network's layers and both parameter counts. Example: `unroll summary -p pos`"""
    _, _, params, corpus, layout = _pipeline(pipeline, settings)
    from pipeline import summary as command

    given = {"num_words": num_words, "num_chars": num_chars, "num_labels": num_labels}
    command.run(params.model, corpus, layout, {name: number for name, number in given.items() if number is not None})


@app.command()
def diagram(
    pipeline: Name,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path("network.svg"),
    settings: Settings = None,
) -> None:
    """Draw the unrolled network as SVG. Example: `unroll diagram -p pos -o network.svg`"""
    _, _, params, corpus, _ = _pipeline(pipeline, settings)
    from pipeline.diagram import draw

    out.write_text(draw(params.model, corpus.task, is_numeric=corpus.is_numeric), encoding="utf-8")
    print(f"{out}: the network of {pipeline}")


Engine = Literal["auto", "torch", "onnx", "int8"]
_ENGINE_HELP = (
    "What runs the network: auto is onnx where the network can be written so, else torch; "
    "int8 is the fastest, for LSTMs over words, and less exact: `unroll evaluate` shows its accuracy."
)


Format = Literal["text", "conllu", "parquet"]
_OUT_HELP = (
    "Where the answers go: a file, or a folder for a folder's files. The endings .conllu and .parquet choose the form, any other "
    "gives lines of text, as standard output has. A run that was broken off goes on when the same is called again."
)


@app.command()
def predict(
    file: Annotated[
        Path | None, typer.Argument(help="One text per line, CoNLL-U or parquet, or a folder of such; standard input by default.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="A registered model, or a model folder.", autocompletion=complete_models)
    ] = "models:/pos@champion",
    engine: Annotated[Engine, typer.Option(help=_ENGINE_HELP)] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(help=_OUT_HELP),
    ] = None,
    input_format: Annotated[
        Format | None, typer.Option("--format", help="Of the input; by default what its ending says, else text.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that label, with --out; by default one per core.")] = None,
) -> None:
    """Label texts with a registered model. Example: `unroll predict texts.txt --out texts.tags`"""
    if out is not None:
        if file is None:
            raise ParamsError("--out: needs a file to read, so that it can go on; fix: name one, or leave --out away")
        from pipeline import files

        files.run(file, out, model, engine=engine, input_format=input_format, num_workers=workers)
        return
    _print_labels(file, model, engine, input_format)


def _print_labels(file: Path | None, model: str, engine: Engine, input_format: Format | None) -> None:
    from pipeline import predict as command
    from pipeline.inputs import format_of

    if file is not None and (file.is_dir() or (input_format or format_of(file)) != "text"):
        raise ParamsError(f"{file}: is no text, which is labelled without --out; fix: give --out")
    if file is None:
        command.run(model, sys.stdin, engine=engine)
        return
    try:
        with file.open(encoding="utf-8") as lines:
            command.run(model, lines, engine=engine)
    except OSError as error:
        raise ParamsError(f"{file}:1:1: can not be read; {error.strerror}; fix: name a text file") from error


@app.command()
def verify(
    model: Annotated[
        str, typer.Argument(help="A registered model, or a model folder.", autocompletion=complete_models)
    ] = "models:/pos@champion",
    engine: Annotated[Engine, typer.Option(help=_ENGINE_HELP)] = "auto",
) -> None:
    """Check that padding, batch mates and order change no answer of a model. Example: `unroll verify models:/pos@champion`"""
    from pipeline import verify as command

    command.run(model, engine)


@app.command()
def cluster(
    nodes: Annotated[int, typer.Option(min=1, help="Nodes to start.")] = 2,
    cpus: Annotated[int, typer.Option(min=1, help="Cores of each.")] = 1,
) -> None:
    """Start a small Ray cluster on this machine, to try what runs on a large one. Example: `unroll cluster --nodes 2`"""
    from pipeline import nodes as command

    command.run(nodes, cpus)


@app.command()
def doctor() -> None:
    """Show what is installed, devices, cluster, tracking store, disk. Example: `unroll doctor`"""
    from pipeline import doctor as command

    if not command.run():
        raise typer.Exit(1)


def main() -> None:
    """Run a command; what a person can mend ends in one message and its exit code."""
    set_environment()
    mask_logs()
    logs.set_up()
    begun = time.monotonic()
    try:
        app()
    except UnrollError as error:
        logger.error("%s", error)
        sys.exit(error.exit_code)
    except SystemExit as end:  # which Typer makes of an interrupt, too
        if end.code == INTERRUPTED:
            logger.error("interrupted; run it again to go on")
        raise
    except Exception:  # a bug, which keeps its traceback
        print(mask(traceback.format_exc()), file=sys.stderr, end="")
        sys.exit(1)
    finally:
        logger.debug("took %.1f s", time.monotonic() - begun)
        logs.reset()


if __name__ == "__main__":
    main()
