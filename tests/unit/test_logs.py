"""What of a command's words is shown, where, and in which form."""

import json
import logging
import sys

import pytest

from pipeline import logs

logger = logging.getLogger("pipeline.anything")


@pytest.fixture(autouse=True)
def _as_before():
    yield
    logs.reset()


def test_how_it_goes_is_plain_on_standard_output_and_warnings_stand_on_standard_error(capsys):
    logs.set_up()
    logger.debug("a step")
    logger.info("an epoch")
    logger.warning("a doubt")
    logger.error("a.yaml:1:1: is wrong")
    out, err = capsys.readouterr()
    assert out == "an epoch\n" and err == "WARNING: a doubt\na.yaml:1:1: is wrong\n"


def test_quiet_leaves_errors(capsys):
    logs.set_up(logging.ERROR)
    logger.info("an epoch")
    logger.warning("a doubt")
    logger.error("the end")
    assert capsys.readouterr() == ("", "the end\n")


def test_verbose_tells_steps_and_what_libraries_tell(capsys):
    logs.set_up(logging.DEBUG)
    logger.debug("a step")
    logging.getLogger("library").info("a connection")
    assert capsys.readouterr().out == "a step\nINFO: a connection\n"


def test_as_json_each_line_is_an_object_on_standard_error(capsys):
    logs.set_up(as_json=True)
    logger.info("épo\nque")
    logging.getLogger("library").warning("old %s", "age")
    print("printed by a library", file=sys.stderr)
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in err.splitlines()]
    assert out == "" and [line["message"] for line in lines] == ["épo\nque", "old age", "printed by a library"]
    assert [line["level"] for line in lines] == ["info", "warning", "warning"] and all("T" in line["time"] for line in lines)


def test_what_was_set_up_can_be_taken_back(capsys):
    before = sys.stderr
    logs.set_up(logging.ERROR, as_json=True)
    logs.reset()
    logger.info("unheard")
    assert sys.stderr is before and capsys.readouterr() == ("", "")
