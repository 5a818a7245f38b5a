"""What a person sees: MLflow's pages of a registered model and the report, in a real browser that is reached by nothing else.

`UNROLL_SCREENSHOTS` names a folder that keeps a picture of each page.
"""

import os
from pathlib import Path

import pytest
from project import Project
from servers import mlflow_server

CHROMIUM = Path("/usr/bin/chromium")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
QUIET += ["--disable-background-networking", "--disable-component-update"]
SIZE = {"width": 1400, "height": 1000}
PATIENCE = 60_000
"""Milliseconds that a busy machine may need to draw a page."""

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
    """An empty profile's page; a dialog that MLflow greets with is closed as soon as it is in the way."""
    context = browser.new_context(viewport=SIZE)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.add_locator_handler(page.get_by_role("dialog"), lambda: page.keyboard.press("Escape"))
    yield page
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


def _are_drawn(pictures):
    return pictures.count() > 0 and all(pictures.nth(i).evaluate("it => it.decode().then(() => it.naturalWidth > 0)") for i in range(pictures.count()))


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
    _see(page, "train/loss", "val/accuracy")
    page.locator(".js-plotly-plot").first.wait_for()
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
    pictures = page.locator("img[alt='learning_curves'], img[alt='confusion']")
    pictures.nth(1).wait_for()
    assert _are_drawn(pictures)
    keep("version")
    page.locator("text=Limits.").first.scroll_into_view_if_needed()
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
