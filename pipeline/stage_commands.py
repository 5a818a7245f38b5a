"""The commands that make a model: one per stage of dvc.yaml, and all of them at once."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import ParamsError
from pipeline.options import Name, Settings, open_pipeline

if TYPE_CHECKING:
    from pipeline.scratch import Work


def fetch(pipeline: Name, settings: Settings = None) -> None:
    """Get a corpus, and check its hash. Example: `unroll fetch -p pos`"""
    _, catalogue, params, corpus, layout = open_pipeline(pipeline, settings)
    from pipeline import fetch as stage

    vectors = (params.vectors, catalogue.vectors[params.vectors]) if params.vectors else None
    stage.run(params.corpus, corpus, layout, vectors)


def prepare(
    pipeline: Name,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at what is only warned of else.")] = False,
    settings: Settings = None,
) -> None:
    """Read a corpus into one schema, check and split it. Example: `unroll prepare -p pos`"""
    _, _, params, corpus, layout = open_pipeline(pipeline, settings)
    from pipeline import prepare as stage

    stage.run(corpus, params.split, layout, is_strict=strict)


def encode(pipeline: Name, settings: Settings = None) -> None:
    """Build vocabularies, turn words into numbers. Example: `unroll encode -p pos`"""
    _, catalogue, params, corpus, layout = open_pipeline(pipeline, settings)
    from pipeline import encode as stage

    vectors = catalogue.vectors[params.vectors] if params.vectors else None
    stage.run(corpus, params.encode, vectors, layout)


def train(
    pipeline: Name,
    profile: Annotated[bool, typer.Option("--profile", help="Only show where the time of a step goes, on this machine.")] = False,
    settings: Settings = None,
) -> None:
    """Train the network on this machine or on the cluster in RAY_ADDRESS. Example: `unroll train -p pos`"""
    config, _, params, _, layout = open_pipeline(pipeline, settings)
    if profile:
        from pipeline import profile as command

        command.run(params.model, params.train, config.scaling, layout)
        return
    from pipeline import train as stage

    stage.run(params.model, params.train, config.scaling, layout)


def evaluate(pipeline: Name, settings: Settings = None) -> None:
    """Score the model on the test split, beside floors. Example: `unroll evaluate -p pos`"""
    _, _, _, corpus, layout = open_pipeline(pipeline, settings)
    from pipeline import evaluate as stage

    stage.run(corpus.task, layout)


def register(pipeline: Name, settings: Settings = None) -> None:
    """Make the model a version in MLflow's registry. Example: `unroll register -p pos`"""
    _, _, params, corpus, layout = open_pipeline(pipeline, settings)
    from pipeline import register as stage

    stage.run(corpus, params.register, layout, corpus_name=params.corpus, params=params)


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
    config, catalogue, params, _, _ = open_pipeline(pipeline, settings)
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
