"""The command line: one command per stage, and what a person asks in between. Only the command at hand is imported."""

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.config import Catalogue, Config, CorpusConfig, PipelineConfig
from pipeline.environment import set_environment
from pipeline.errors import ParamsError, UnrollError
from pipeline.layout import WORK_DIR, Layout
from pipeline.params import load_config
from pipeline.sweep_checks import check_sweep

INTERRUPTED = 130

app = typer.Typer(
    help="From labelled sequences to a trained, registered, served recurrent model.\n\n`make repro` runs every stage.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
Name = Annotated[str, typer.Option("--pipeline", "-p", help="A pipeline of params.yaml.")]


def _pipeline(name: str) -> tuple[Config, Catalogue, PipelineConfig, CorpusConfig, Layout]:
    config, catalogue = load_config()
    if name not in config.pipelines:
        raise ParamsError(f"--pipeline {name}: not in params.yaml; fix: use one of {', '.join(sorted(config.pipelines))}")
    pipeline = config.pipelines[name]
    return config, catalogue, pipeline, catalogue.corpora[pipeline.corpus], Layout(name)


@app.command()
def fetch(pipeline: Name) -> None:
    """Get a corpus, and check its hash. Example: `unroll fetch -p pos`"""
    _, catalogue, params, corpus, layout = _pipeline(pipeline)
    from pipeline import fetch as stage

    vectors = (params.vectors, catalogue.vectors[params.vectors]) if params.vectors else None
    stage.run(params.corpus, corpus, layout, vectors)


@app.command()
def prepare(pipeline: Name) -> None:
    """Read a corpus into one schema and split it. Example: `unroll prepare -p pos`"""
    _, _, params, corpus, layout = _pipeline(pipeline)
    from pipeline import prepare as stage

    stage.run(corpus, params.split, layout)


@app.command()
def encode(pipeline: Name) -> None:
    """Build vocabularies, turn words into numbers. Example: `unroll encode -p pos`"""
    _, catalogue, params, corpus, layout = _pipeline(pipeline)
    from pipeline import encode as stage

    vectors = catalogue.vectors[params.vectors] if params.vectors else None
    stage.run(corpus, params.encode, vectors, layout)


@app.command()
def train(
    pipeline: Name,
    profile: Annotated[bool, typer.Option("--profile", help="Only show where the time of a step goes, on this machine.")] = False,
) -> None:
    """Train the network on this machine or on the cluster in RAY_ADDRESS. Example: `unroll train -p pos`"""
    config, _, params, _, layout = _pipeline(pipeline)
    if profile:
        from pipeline import profile as command

        command.run(params.model, params.train, config.scaling, layout)
        return
    from pipeline import train as stage

    stage.run(params.model, params.train, config.scaling, layout)


@app.command()
def evaluate(pipeline: Name) -> None:
    """Score the model on the test split, beside floors. Example: `unroll evaluate -p pos`"""
    _, _, _, corpus, layout = _pipeline(pipeline)
    from pipeline import evaluate as stage

    stage.run(corpus.task, layout)


@app.command()
def register(pipeline: Name) -> None:
    """Make the model a version in MLflow's registry. Example: `unroll register -p pos`"""
    _, _, params, corpus, layout = _pipeline(pipeline)
    from pipeline import register as stage

    stage.run(corpus, params.register, layout, corpus_name=params.corpus, params=params)


@app.command()
def promote(
    name: Annotated[str, typer.Argument(help="A registered model, which has its pipeline's name.")],
    version: Annotated[int, typer.Option(min=1, help="Its number.")],
    force: Annotated[bool, typer.Option("--force", help="Ask nothing but that the model is whole.")] = False,
) -> None:
    """Make a version champion, if the gate lets it. Example: `unroll promote pos --version 3`"""
    gate = None
    if not force:
        _, _, params, corpus, layout = _pipeline(name)
        from pipeline.promote import gate_of

        gate = gate_of(name, layout.prepared_dir, params.register, corpus.task)
    from pipeline.promote import promote
    from pipeline.tracking import in_use

    with in_use(WORK_DIR):
        promote(name, str(version), gate)


@app.command()
def rollback(name: Annotated[str, typer.Argument(help="A registered model.")]) -> None:
    """Make that version champion again which was it before. Example: `unroll rollback pos`"""
    from pipeline.promote import roll_back
    from pipeline.tracking import in_use

    with in_use(WORK_DIR):
        roll_back(name)


Address = Annotated[str, typer.Argument(help="A registered version: pos/3, or pos@champion.")]


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
    pipeline: Annotated[str | None, typer.Option("--pipeline", "-p", help="Default: sweep.pipeline.")] = None,
) -> None:
    """Search for the best network and register it. Example: `unroll sweep -p pos`"""
    config, catalogue = load_config()
    if config.sweep is None:
        raise ParamsError("params.yaml:1:1: has no `sweep`; fix: add one, as the README shows")
    chosen = replace(config.sweep, pipeline=pipeline or config.sweep.pipeline)
    _, _, params, corpus, layout = _pipeline(chosen.pipeline)
    wrong = [f"params.yaml: {'.'.join(it.keys)} {it.text}" for it in check_sweep(chosen, config, catalogue)]
    if wrong:
        raise ParamsError("\n".join(wrong))
    from pipeline import sweep as command

    command.run(chosen.pipeline, params, corpus, chosen, config.scaling, layout)


@app.command()
def adopt(
    pipeline: Annotated[str | None, typer.Option("--pipeline", "-p", help="Default: sweep.pipeline.")] = None,
) -> None:
    """Change params.yaml to the best network of the last sweep. Example: `unroll adopt -p pos`"""
    config, _ = load_config()
    name = pipeline or (config.sweep.pipeline if config.sweep else None)
    if name is None:
        raise ParamsError("params.yaml:1:1: has no `sweep`; fix: name the pipeline with -p")
    _, _, _, _, layout = _pipeline(name)
    from pipeline import adopt as command

    command.run(layout)


Rows = Annotated[int | None, typer.Option(min=1, help="Instead of what the encoded corpus has.")]


@app.command()
def summary(pipeline: Name, num_words: Rows = None, num_chars: Rows = None, num_labels: Rows = None) -> None:
    """Show the network's layers and both parameter counts. Example: `unroll summary -p pos`"""
    _, _, params, corpus, layout = _pipeline(pipeline)
    from pipeline import summary as command

    given = {"num_words": num_words, "num_chars": num_chars, "num_labels": num_labels}
    command.run(params.model, corpus, layout, {name: number for name, number in given.items() if number is not None})


@app.command()
def diagram(
    pipeline: Name, out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path("network.svg")
) -> None:
    """Draw the unrolled network as SVG. Example: `unroll diagram -p pos -o network.svg`"""
    _, _, params, corpus, _ = _pipeline(pipeline)
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
    model: Annotated[str, typer.Option(help="A registered model, or a model folder.")] = "models:/pos@champion",
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
    model: Annotated[str, typer.Argument(help="A registered model, or a model folder.")] = "models:/pos@champion",
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
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        app()
    except UnrollError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except SystemExit as end:  # which Typer makes of an interrupt, too
        if end.code == INTERRUPTED:
            print("interrupted; run it again to go on", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
