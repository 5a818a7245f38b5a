"""report -> registry: a new version of the model, under the alias `champion` where it beats the one there, else `challenger`.

The champion is asked the same test split anew, so the two scores compare even when the data has changed since it was made.
Registering the same run again changes nothing.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from models.config import MAIN, Task
from pipeline import tracking
from pipeline.config import RegisterConfig
from pipeline.digest import file_sha256
from pipeline.errors import ParamsError
from pipeline.export import export_model
from pipeline.labeler import Labeler
from pipeline.layout import Layout
from pipeline.scoring import Split, answer_split, known_words, score_labels

PICTURES = ("learning_curves", "confusion")
"""Of the report, shown on a version's page."""


def run(task: Task, corpus_name: str, config: RegisterConfig, layout: Layout) -> None:
    """Register the trained and evaluated model of a pipeline and write its registry.json.

    Raises:
        ParamsError: the report has no such score as `register.metric`.
    """
    metrics = json.loads((layout.report_dir / "metrics.json").read_text(encoding="utf-8"))
    run_id = json.loads((layout.report_dir / "run.json").read_text(encoding="utf-8"))["run_id"]
    key = f"test/{config.metric}"
    if key not in metrics:
        raise ParamsError(f"params.yaml: register.metric is {config.metric!r}; the report has no {key}; fix: choose another")
    name, score = layout.pipeline, metrics[key]
    before = tracking.champion(name)
    version = tracking.version_of_run(name, run_id)
    if version is None:
        version = _register(name, corpus_name, run_id, metrics, layout)
    if before is None or before.number == version.number:
        alias, standing = "champion", None
    else:
        standing = _score_again(before, task, config, layout)
        alias = "champion" if score > standing + config.min_gain else "challenger"
    tracking.set_alias(version, alias)
    if alias == "champion":
        tracking.describe_model(version, {"corpus": corpus_name, config.metric: f"{score:.4f}"})
    result = {
        "model": name,
        "version": version.number,
        "alias": alias,
        "run_id": run_id,
        key: score,
        "champion_before": standing,
    }
    layout.registry_path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    against = "" if standing is None else f"; the champion before it, version {before.number if before else ''}, {standing:.4f}"
    print(f"{name}: version {version.number} is {alias}, {key} {score:.4f}{against}")


def _register(name: str, corpus_name: str, run_id: str, metrics: dict[str, float], layout: Layout) -> tracking.Version:
    with TemporaryDirectory() as place:
        folder = Path(place) / "model"
        parity = export_model(layout.model_dir, folder, Split.read(layout.prepared_dir, "test"))
        print(f"{name}: the exported model beside the trained one, {parity}")
        labeler = Labeler.load(folder)
        tags = {key.replace("/", "_"): f"{value:.4f}" for key, value in metrics.items()}
        tags |= {f"sha256_{path.stem}": file_sha256(path) for path in sorted(layout.prepared_dir.glob("*.parquet"))}
        tags |= {section: json.dumps(labeler.meta[section]) for section in ("model", "train")}
        tags |= {"git_commit": tracking.git_commit(), "corpus": corpus_name, "parity": str(parity)}
        text = _describe(name, corpus_name, labeler, metrics, run_id)
        return tracking.register(name, run_id, folder, _example(labeler), tags, text)


def _example(labeler: Labeler) -> list[str]:
    """Give texts that a model reads."""
    if labeler.sizes.vector_size:
        return [json.dumps([[0.0] * labeler.sizes.vector_size])]
    if labeler.columns:
        return [json.dumps({key: ["one", "two"] for key in ("tokens", *labeler.columns)})]
    return ["A short text .", "Another one ."]


def _describe(name: str, corpus_name: str, labeler: Labeler, metrics: dict[str, float], run_id: str) -> str:
    """Write what stands on the version's page: the network, its scores beside the floor's, pictures."""
    meta: dict[str, Any] = labeler.meta
    model = meta["model"]
    kind = f"{'bidirectional ' if model['bidirectional'] else ''}{model['cell']} {list(model['hidden'])}"
    task = "a label per word" if labeler.is_tagger else "one label per text"
    scores = {key.removeprefix("test/"): value for key, value in metrics.items()}
    rows = [
        f"| {key} | &emsp;{value:.2%} | " + (f"&emsp;{scores[f'floor_{key}']:.2%} |" if f"floor_{key}" in scores else "|")
        for key, value in scores.items()
        if not key.startswith("floor_")
    ]
    return "\n".join(
        [
            f"**{name}**: {task}, trained on {corpus_name}. Network: {kind}, {meta['num_parameters']:,} parameters. "
            f"Load it with `mlflow.pyfunc.load_model('models:/{name}@champion').predict([text, ...])`.\n",
            "| on test | &emsp;model | &emsp;floor |\n| --- | ---: | ---: |",
            *rows,
            *(f"\n![{picture}]({tracking.artifact_link(run_id, f'report/{picture}.png')})" for picture in PICTURES),
        ]
    )


def _score_again(version: tracking.Version, task: Task, config: RegisterConfig, layout: Layout) -> float:
    labeler = Labeler.load(tracking.download_model(f"models:/{version.name}/{version.number}"))
    train, test = (Split.read(layout.prepared_dir, name) for name in ("train", "test"))
    scores = score_labels(test, answer_split(labeler, test)[MAIN], known_words(train), task == "tagging")
    return scores[config.metric]
