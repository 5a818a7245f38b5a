"""What a person sees: MLflow's pages of a registered model and the report, in a real browser that is reached by nothing else.

`UNROLL_SCREENSHOTS` names a folder that keeps a picture of each page.
"""

import json
import os
from pathlib import Path

import pytest
from project import Project
from servers import mlflow_server

from pipeline.register import PICTURES

CHROMIUM = Path("/usr/bin/chromium")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
QUIET += ["--disable-background-networking", "--disable-component-update"]
SIZE = {"width": 1400, "height": 1000}
PATIENCE = 60_000
"""Milliseconds that a busy machine may need to draw a page."""
GREETED = {
    "_mlflow_model_registry_promo_modal_dismissed_v1": "true",
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.workflowType_v1": '"machine_learning"',
}
"""What a browser remembers of whoever closed MLflow's greetings and chose the pages about training."""

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs Chromium at {CHROMIUM}")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = Project(tmp_path_factory.mktemp("pages"))
    made.stages("fetch", "prepare", "encode", "train", "evaluate", "register")
    return made


@pytest.fixture(scope="module")
def address(project, tmp_path_factory):
    """MLflow's pages over the project's store, as `make ui` shows them."""
    store, artifacts = f"sqlite:///{project.folder / 'mlflow.db'}", project.folder / "mlartifacts"
    with mlflow_server(tmp_path_factory.mktemp("log"), store, str(artifacts)) as url:
        yield url


@pytest.fixture(scope="module")
def run(project):
    """The training's run, as the store has it."""
    return project.client().get_run(project.json("report/run.json")["run_id"])


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=str(CHROMIUM), args=QUIET)
        yield opened
        opened.close()


@pytest.fixture
def page(browser):
    """A page of an empty profile that was greeted."""
    context = browser.new_context(viewport=SIZE)
    context.set_default_timeout(PATIENCE)
    entries = ";".join(f"localStorage.setItem({json.dumps(key)}, {json.dumps(value)})" for key, value in GREETED.items())
    context.add_init_script(f"if (location.protocol === 'http:') {{ {entries} }}")
    yield context.new_page()
    context.close()


@pytest.fixture
def keep(page, tmp_path):
    """Gives what keeps a picture of the page under a name."""
    folder = Path(os.environ.get("UNROLL_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return lambda name: page.screenshot(path=folder / f"{name}.png")


def _see(place, *texts):
    """Wait until a page or a frame shows these texts."""
    for text in texts:
        place.get_by_text(text).first.wait_for()


def _wait_until_drawn(page, names):
    """Wait until a page shows these pictures of the report."""
    for name in names:
        picture = page.locator(f"img[src*='{name}.png']")
        picture.scroll_into_view_if_needed()
        picture.evaluate("it => it.decode()")


def test_the_experiments_page_lists_the_run_by_its_name(page, keep, address, run):
    page.goto(f"{address}/#/experiments/{run.info.experiment_id}/runs")
    page.get_by_role("link", name=run.info.run_name).first.wait_for()
    keep("experiment")


def test_the_runs_page_shows_its_params_and_metrics(page, keep, address, run):
    page.goto(f"{address}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}")
    _see(page, run.info.run_name, "train/loss", "val/accuracy", "model.hidden")
    keep("run")


def test_the_runs_metrics_are_drawn_as_charts(page, keep, address, run):
    page.goto(f"{address}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/model-metrics")
    for metric in ("train/loss", "val/accuracy"):
        page.get_by_placeholder("Search metric charts").fill(metric)
        page.locator(".js-plotly-plot").first.wait_for()
        _see(page, f"{run.info.run_name} ({metric})")
    keep("charts")


def test_the_report_opens_among_the_runs_artifacts(page, keep, address, run, project):
    page.goto(f"{address}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/artifacts/report/report.html")
    _see(page.frame_locator("iframe"), f"Report of {project.name}")
    keep("artifacts")


def test_the_models_are_listed_with_alias_and_tags(page, keep, address, project):
    page.goto(f"{address}/#/models")
    page.get_by_role("link", name=project.name, exact=True).wait_for()
    _see(page, "champion", "corpus")
    keep("models")


def test_the_models_page_shows_description_and_alias(page, keep, address, project):
    page.goto(f"{address}/#/models/{project.name}")
    _see(page, "a label per word", "champion", "Version 1")
    keep("model")


def test_the_versions_page_shows_card_tags_and_alias(page, keep, address, project):
    page.goto(f"{address}/#/models/{project.name}/versions/1")
    _see(page, "champion", "git_commit", "a label per word")
    page.get_by_role("cell", name="accuracy", exact=True).first.wait_for()
    keep("version")
    _wait_until_drawn(page, PICTURES)
    keep("version-below")


def test_the_report_asks_nothing_of_any_network_and_a_field_of_the_confusions_opens_its_sentences(page, keep, project):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    report = (project.folder / "data" / project.name / "report" / "report.html").as_uri()
    page.goto(report)
    before = page.locator(".places > div:visible").inner_text()
    page.locator(".confusion label:visible").last.click()
    assert page.locator(".places > div:visible").inner_text() != before
    keep("report")
    assert asked == [report]
