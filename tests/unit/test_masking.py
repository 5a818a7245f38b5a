import logging
import sys

import pytest

from pipeline import __main__ as command_line
from pipeline import doctor
from pipeline.errors import InfrastructureError, UnrollError
from pipeline.masking import mask, mask_logs


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("http://ann:hunter2@host:5000/x", "http://***@host:5000/x"),
        ("postgresql://ann:p@ss:word@db/x", "postgresql://***@db/x"),
        ("git clone https://ghp_secret@github.org/x.git failed", "git clone https://***@github.org/x.git failed"),
        ("https://host/a?x=1&access_token=abc&y=2", "https://host/a?x=1&access_token=***&y=2"),
        ("s3://b/a?X-Amz-Signature=abc", "s3://b/a?X-Amz-Signature=***"),
        ("{'Authorization': 'Bearer abc.def'}", "{'Authorization': 'Bearer ***'}"),
        ("two: http://a:b@c and ftp://d:e@f", "two: http://***@c and ftp://***@f"),
    ],
)
def test_what_is_secret_by_its_place_is_masked(text, masked):
    assert mask(text) == masked == mask(masked)


@pytest.mark.parametrize(
    "text",
    [
        "models:/pos@champion",
        "https://host/@scope/package",
        "sqlite:////home/me@work/mlflow.db",
        "s3://bucket/prefix",
        "params.yaml:3:5: corpus is 'a'; did you mean b?",
        "me@example.org wrote https://example.org",
    ],
)
def test_what_is_not_secret_stays(text):
    assert mask(text) == text


@pytest.mark.parametrize("name", ["RAY_AUTH_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "MLFLOW_TRACKING_PASSWORD"])
def test_a_secret_of_the_environment_is_masked_wherever_it_stands(monkeypatch, name):
    monkeypatch.setenv(name, "opensesame/1")
    assert mask("says opensesame/1, opensesame%2F1.") == "says ***, ***."


def test_the_password_of_an_address_in_the_environment_is_masked_by_itself(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:open%21sesame@host")
    assert mask("open%21sesame and open!sesame of ann") == "*** and *** of ann"


def test_a_path_to_a_token_is_no_secret(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/home/me/token")
    assert mask("/home/me/token") == "/home/me/token"


def test_what_a_person_can_mend_is_told_without_secrets():
    error = InfrastructureError("http://ann:hunter2@host: MLflow failed")
    assert "hunter2" not in str(error) + repr(error) and isinstance(error, UnrollError)


@pytest.fixture
def restored():
    before = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(before)


def test_no_log_carries_a_secret_nor_its_traceback(restored, caplog):
    mask_logs()
    try:
        raise OSError("http://ann:hunter2@host")
    except OSError:
        logging.getLogger("urllib3").warning("at %s, 100%%", "http://ann:hunter3@host", exc_info=True)
    assert "hunter" not in caplog.text and "at http://***@host, 100%" in caplog.text and "OSError" in caplog.text


def test_the_traceback_of_a_bug_carries_no_secret(restored, monkeypatch, capsys):
    def fail():
        raise RuntimeError("http://ann:hunter2@host")

    monkeypatch.setattr(command_line, "set_environment", lambda: None)
    monkeypatch.setattr(doctor, "run", fail)
    monkeypatch.setattr(sys, "argv", ["unroll", "doctor"])
    with pytest.raises(SystemExit) as end:
        command_line.main()
    said = capsys.readouterr().err
    assert end.value.code == 1 and "Traceback" in said and "http://***@host" in said and "hunter2" not in said
