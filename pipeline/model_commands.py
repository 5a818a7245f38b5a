"""The commands about registered models: label with them, check them, choose among them, find where they came from."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.completion import complete_models
from pipeline.errors import ParamsError
from pipeline.layout import WORK_DIR
from pipeline.options import Address, Engine, Registered, Settings, open_pipeline
from pipeline.params import load_config

Format = Literal["text", "conllu", "parquet"]
_OUT_HELP = (
    "Where the answers go: a file, or a folder for a folder's files. The endings .conllu and .parquet choose the form, any other "
    "gives lines of text, as standard output has. A run that was broken off goes on when the same is called again."
)


def predict(
    file: Annotated[
        Path | None, typer.Argument(help="One text per line, CoNLL-U or parquet, or a folder of such; standard input by default.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="A registered model, or a model folder.", autocompletion=complete_models)
    ] = "models:/pos@champion",
    engine: Engine = "auto",
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


def verify(
    model: Annotated[
        str, typer.Argument(help="A registered model, or a model folder.", autocompletion=complete_models)
    ] = "models:/pos@champion",
    engine: Engine = "auto",
) -> None:
    """Check that padding, batch mates and order change no answer of a model. Example: `unroll verify models:/pos@champion`"""
    from pipeline import verify as command

    command.run(model, engine)


def promote(
    name: Registered,
    version: Annotated[int, typer.Option(min=1, help="Its number.")],
    force: Annotated[bool, typer.Option("--force", help="Ask nothing but that the model is whole.")] = False,
    settings: Settings = None,
) -> None:
    """Make a version champion, if the gate lets it. Example: `unroll promote pos --version 3`"""
    gate = None
    if not force:
        _, _, params, corpus, layout = open_pipeline(name, settings)
        from pipeline.promote import gate_of

        gate = gate_of(name, layout.prepared_dir, params.register, corpus.task)
    from pipeline.promote import promote
    from pipeline.tracking import in_use

    with in_use(WORK_DIR):
        promote(name, str(version), gate)


def rollback(name: Registered) -> None:
    """Make that version champion again which was it before. Example: `unroll rollback pos`"""
    from pipeline.promote import roll_back
    from pipeline.tracking import in_use

    with in_use(WORK_DIR):
        roll_back(name)


def lineage(address: Address) -> None:
    """Show where a version came from: run, commit, data, corpus, sweep. Example: `unroll lineage pos@champion`"""
    _, catalogue = load_config()
    from pipeline import lineage as command
    from pipeline.tracking import in_use

    with in_use(WORK_DIR):
        command.run(address, catalogue)


def reproduce(address: Address) -> None:
    """Make a version again from its commit, and compare weights and scores. Example: `unroll reproduce pos/3`"""
    from pipeline import reproduce as command

    command.run(address)
