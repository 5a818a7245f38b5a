"""The command line. A command is a function, and its options are the function's; what it does is imported as it is called."""

import logging
import sys
import time
import traceback
from typing import Annotated

import typer

from pipeline import logs, model_commands, stage_commands, tool_commands
from pipeline.environment import set_environment
from pipeline.errors import ParamsError, UnrollError
from pipeline.masking import mask, mask_logs

INTERRUPTED = 130
COMMANDS = (
    *(stage_commands.fetch, stage_commands.prepare, tool_commands.check, stage_commands.encode, stage_commands.train),
    *(stage_commands.evaluate, stage_commands.register, stage_commands.run),
    *(model_commands.predict, model_commands.verify, model_commands.promote, model_commands.rollback),
    *(model_commands.lineage, model_commands.reproduce),
    *(tool_commands.sweep, tool_commands.adopt, tool_commands.params, tool_commands.summary, tool_commands.diagram),
    *(tool_commands.cluster, tool_commands.doctor),
)
"""In the order of the help."""

logger = logging.getLogger("pipeline")

app = typer.Typer(
    help="From labelled sequences to a trained, registered, served recurrent model.\n\n`make repro` runs every stage.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for command in COMMANDS:
    app.command()(command)


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        print(f"unroll {version('unroll')}")
        raise typer.Exit


@app.callback()
def choose_logs(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell each step, and what libraries tell.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors alone.")] = False,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="Log JSON objects, on standard error.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Set what is logged of any command."""
    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.INFO
    logs.set_up(level, as_json=json_logs)
    if verbose and quiet:
        raise ParamsError("--verbose --quiet: ask for more and for less; fix: give one")


def main() -> None:
    """Run a command; what a person can mend ends in one message and its exit code."""
    set_environment()
    mask_logs()
    logs.set_up()
    begun = time.monotonic()
    try:
        app()
    except UnrollError as error:
        logger.error("%s", error)
        sys.exit(error.exit_code)
    except SystemExit as end:  # which Typer makes of an interrupt, too
        if end.code == INTERRUPTED:
            logger.error("interrupted; run it again to go on")
        raise
    except Exception:  # a bug, which keeps its traceback
        print(mask(traceback.format_exc()), file=sys.stderr, end="")
        sys.exit(1)
    finally:
        logger.debug("took %.1f s", time.monotonic() - begun)
        logs.reset()


if __name__ == "__main__":
    main()
