"""What several commands take: the same options, under the same names, and what a pipeline's name stands for."""

from typing import Annotated, Literal

import typer

from pipeline.completion import complete_addresses, complete_pipelines
from pipeline.config import Catalogue, Config, CorpusConfig, PipelineConfig
from pipeline.errors import ParamsError
from pipeline.layout import Layout
from pipeline.params import load_config

Name = Annotated[str, typer.Option("--pipeline", "-p", help="A pipeline of params.yaml.", autocompletion=complete_pipelines)]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Instead of what params.yaml says, this time: `train.lr=1e-3`. May be given again for other keys.",
    ),
]
OneOrAll = Annotated[str | None, typer.Option("--pipeline", "-p", help="Default: all.", autocompletion=complete_pipelines)]
Swept = Annotated[
    str | None, typer.Option("--pipeline", "-p", help="Default: sweep.pipeline.", autocompletion=complete_pipelines)
]
Registered = Annotated[
    str, typer.Argument(help="A registered model, which has its pipeline's name.", autocompletion=complete_pipelines)
]
Address = Annotated[str, typer.Argument(help="A registered version: pos/3, or pos@champion.", autocompletion=complete_addresses)]
Rows = Annotated[int | None, typer.Option(min=1, help="Instead of what the encoded corpus has.")]
Engine = Annotated[
    Literal["auto", "torch", "onnx", "int8"],
    typer.Option(
        help="What runs the network: auto is onnx where the network can be written so, else torch; int8 is the fastest, for "
        "LSTMs over words, and less exact: `unroll evaluate` shows its accuracy."
    ),
]


def open_pipeline(name: str, settings: list[str] | None = None) -> tuple[Config, Catalogue, PipelineConfig, CorpusConfig, Layout]:
    """Read params.yaml and corpora.yaml, as they are set, and give what a pipeline of theirs consists of.

    Raises:
        ParamsError: they are wrong, or have no such pipeline.
    """
    config, catalogue = load_config(settings=settings or (), pipeline=name)
    if name not in config.pipelines:
        raise ParamsError(f"--pipeline {name}: not in params.yaml; fix: use one of {', '.join(sorted(config.pipelines))}")
    pipeline = config.pipelines[name]
    return config, catalogue, pipeline, catalogue.corpora[pipeline.corpus], Layout(name)
