"""report -> registry: a new version of the model, under the alias `champion` where the gate lets it, else `challenger`.

The champion is asked the same test split anew, so the two scores compare even when the data has changed since it was made.
Registering the same run again changes nothing, and finishes what was begun where an earlier call was killed; only another test
split or other demands in params.yaml have a version judged anew.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline import tracking, versions
from pipeline.card import Subject, write_card
from pipeline.config import CorpusConfig, PipelineConfig, RegisterConfig
from pipeline.digest import file_sha256
from pipeline.errors import ParamsError
from pipeline.export import export_model
from pipeline.failpoints import reach
from pipeline.gate import Candidate, Exam, Finding, Gate, Judgement
from pipeline.labeler import Labeler
from pipeline.layout import Layout
from pipeline.origin import origin_tags
from pipeline.registry import alone, complete, describe_model, enter, find_version, settle, tag

logger = logging.getLogger(__name__)

PICTURES = ("learning_curves", "confusion")
"""Of the report, shown on a version's page."""
_JUDGED_BY = "judged_by"
"""Tag of a version: a hash of what the gate asked of it; the last to be set."""


def run(corpus: CorpusConfig, config: RegisterConfig, layout: Layout, *, corpus_name: str, params: PipelineConfig) -> None:
    """Register the trained and evaluated model of a pipeline and write its registry.json.

    Args:
        corpus: what corpora.yaml says of it.
        config: what makes a champion.
        layout: of the pipeline.
        corpus_name: in corpora.yaml.
        params: all of the pipeline's, which its version carries.

    Raises:
        ParamsError: the report has no score that `config` names.
        IntegrityError: the model, or the champion, is not what was written.
        InfrastructureError: MLflow does not answer; registered again, it goes on.
    """
    with tracking.in_use(layout.work_dir):
        _run(corpus, config, layout, corpus_name=corpus_name, params=params)


def _run(corpus: CorpusConfig, config: RegisterConfig, layout: Layout, *, corpus_name: str, params: PipelineConfig) -> None:
    metrics = json.loads((layout.report_dir / "metrics.json").read_text(encoding="utf-8"))
    run_id = json.loads((layout.report_dir / "run.json").read_text(encoding="utf-8"))["run_id"]
    key = f"test/{config.metric}"
    if key not in metrics:
        raise ParamsError(f"params.yaml: register.metric is {config.metric!r}; the report has no {key}; fix: choose another")
    name, labeler = layout.pipeline, Labeler.load(layout.model_dir)
    origin = origin_tags(
        layout, corpus_name=corpus_name, corpus=corpus, params=params, meta=labeler.meta, sweep=tracking.parent_of(run_id)
    )
    tags = {key.replace("/", "_"): f"{value:.4f}" for key, value in metrics.items()} | {"scores": json.dumps(metrics)} | origin
    pictures = {title: tracking.artifact_link(run_id, f"report/{title}.png") for title in PICTURES}
    card = write_card(Subject(layout, labeler, corpus_name, corpus, metrics, tags, pictures))
    gate = Gate(config, Exam.read(layout.prepared_dir, corpus.task))
    with alone(name):
        version = enter(name, run_id, lambda: _create(run_id, layout, labeler, gate, card))
        reach("register: created")
        complete(version, tags, card)
        reach("register: completed")
        scores = {key.removeprefix("test/"): value for key, value in metrics.items()}
        judgement = _judge(Candidate(version, labeler, scores), gate, file_sha256(layout.prepared_dir / "test.parquet"))
        is_champion = versions.is_champion(version)
        if is_champion:
            describe_model(version, {"corpus": corpus_name, config.metric: f"{metrics[key]:.4f}"})
    result = {"model": name, "version": version.number, "alias": "champion" if is_champion else "challenger", "run_id": run_id}
    result |= {key: metrics[key], "champion_before": judgement.standing, "gate": [str(it) for it in judgement.findings]}
    layout.registry_path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    _tell(result, judgement, key)


def _create(run_id: str, layout: Layout, labeler: Labeler, gate: Gate, card: str) -> versions.Version:
    """Make a version of the model as it runs without torch.

    Raises:
        IntegrityError: it does not say what the trained network says.
    """
    with TemporaryDirectory() as place:
        folder = Path(place) / "model"
        parity = export_model(layout.model_dir, folder, gate.exam.test, gate.config.parity_batches)
        logger.info("%s: the exported model beside the trained one: %s", layout.pipeline, parity)
        return versions.register(layout.pipeline, run_id, folder, _example(labeler), {"parity": str(parity)}, card)


def _judge(candidate: Candidate, gate: Gate, exam: str) -> Judgement:
    """Give what was said of a version when the same was asked of it before; else ask it now, and have it champion or not."""
    version = candidate.version
    asked_by = _hash([exam, asdict(gate.config), candidate.metrics])
    if version.tags.get(_JUDGED_BY) == asked_by:
        return Judgement.kept(version)

    def score_where_it_holds(champion: versions.Version | None) -> float | None:
        judgement = gate.judge(candidate, champion)
        judgement.keep(version)
        return candidate.metrics[gate.config.metric] if judgement.holds else None

    outcome = settle(version, _hash([exam, gate.config.metric]), score_where_it_holds)
    judgement = Judgement.kept(find_version(version.name, version.number) or version)
    if outcome.better is not None:
        says = f"version {outcome.better.number}, registered at the same time, scores as much or more"
        judgement = judgement.also(Finding("rivals", False, says))
        judgement.keep(version)
    tag(version, {_JUDGED_BY: asked_by})
    return judgement


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _example(labeler: Labeler) -> list[str]:
    """Give texts that a model takes, for its signature."""
    size = labeler.sizes.vector_size
    if size:
        return [json.dumps([[0.0] * size])]
    if labeler.columns:
        return [json.dumps({key: ["one", "two"] for key in ("tokens", *labeler.columns)})]
    return ["A short text .", "Another one ."]


def _tell(result: Mapping[str, Any], judgement: Judgement, key: str) -> None:
    name = result["model"]
    for finding in judgement.findings:
        print(f"{name}: gate: {finding}")
    against = (
        "" if judgement.standing is None else f"; the champion before it, version {judgement.against}, {judgement.standing:.4f}"
    )
    print(f"{name}: version {result['version']} is {result['alias']}, {key} {result[key]:.4f}{against}")
