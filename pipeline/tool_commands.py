"""The commands beside the stages: check data, search networks, show params and networks, look at the machine."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from models.config import Task
from pipeline.config import Format
from pipeline.errors import ParamsError
from pipeline.options import Name, OneOrAll, Rows, Settings, Swept, open_pipeline
from pipeline.params import load_config, read_params
from pipeline.sweep_checks import check_sweep


def check(
    targets: Annotated[
        list[str] | None,
        typer.Argument(help="Corpora of corpora.yaml, or files, the first of which is train. By default the pipelines' corpora."),
    ] = None,
    file_format: Annotated[Format | None, typer.Option("--format", help="Of files, by default what the ending says.")] = None,
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


def sweep(
    pipeline: Swept = None,
    settings: Settings = None,
) -> None:
    """Search for the best network and register it. Example: `unroll sweep -p pos`"""
    config, catalogue = load_config(settings=settings or (), pipeline=pipeline)
    if config.sweep is None:
        raise ParamsError("params.yaml:1:1: has no `sweep`; fix: add one, as the README shows")
    chosen = replace(config.sweep, pipeline=pipeline or config.sweep.pipeline)
    _, _, params, corpus, layout = open_pipeline(chosen.pipeline, settings)
    wrong = [f"params.yaml: {'.'.join(it.keys)} {it.text}" for it in check_sweep(chosen, config, catalogue)]
    if wrong:
        raise ParamsError("\n".join(wrong))
    from pipeline import sweep as command

    command.run(chosen.pipeline, params, corpus, chosen, config.scaling, layout)


def adopt(
    pipeline: Swept = None,
) -> None:
    """Change params.yaml to the best network of the last sweep. Example: `unroll adopt -p pos`"""
    config, _ = load_config()
    name = pipeline or (config.sweep.pipeline if config.sweep else None)
    if name is None:
        raise ParamsError("params.yaml:1:1: has no `sweep`; fix: name the pipeline with -p")
    _, _, _, _, layout = open_pipeline(name)
    from pipeline import adopt as command

    command.run(layout)


def params(
    pipeline: OneOrAll = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, without remarks.")] = False,
    settings: Settings = None,
) -> None:
    """Print all params as they are in effect, defaults too. Example: `unroll params -p pos --set train.lr=1e-3`"""
    if pipeline is not None:
        open_pipeline(pipeline, settings)
    from pipeline import effective as command

    command.run(read_params(settings=settings or (), pipeline=pipeline), pipeline, as_json=as_json)


def summary(
    pipeline: Name, num_words: Rows = None, num_chars: Rows = None, num_labels: Rows = None, settings: Settings = None
) -> None:
    """Show the network's layers and both parameter counts. Example: `unroll summary -p pos`"""
    _, _, params, corpus, layout = open_pipeline(pipeline, settings)
    from pipeline import summary as command

    given = {"num_words": num_words, "num_chars": num_chars, "num_labels": num_labels}
    command.run(params.model, corpus, layout, {name: number for name, number in given.items() if number is not None})


def diagram(
    pipeline: Name,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path("network.svg"),
    settings: Settings = None,
) -> None:
    """Draw the unrolled network as SVG. Example: `unroll diagram -p pos -o network.svg`"""
    _, _, params, corpus, _ = open_pipeline(pipeline, settings)
    from pipeline.diagram import draw

    out.write_text(draw(params.model, corpus.task, is_numeric=corpus.is_numeric), encoding="utf-8")
    print(f"{out}: the network of {pipeline}")


def cluster(
    nodes: Annotated[int, typer.Option(min=1, help="Nodes to start.")] = 2,
    cpus: Annotated[int, typer.Option(min=1, help="Cores of each.")] = 1,
) -> None:
    """Start a small Ray cluster on this machine, to try what runs on a large one. Example: `unroll cluster --nodes 2`"""
    from pipeline import nodes as command

    command.run(nodes, cpus)


def doctor() -> None:
    """Show what is installed, devices, cluster, tracking store, disk. Example: `unroll doctor`"""
    from pipeline import doctor as command

    if not command.run():
        raise typer.Exit(1)
