"""Git, as far as commits are asked for: which one runs, is another here, how is it called, its files in another folder."""

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from pipeline.errors import InfrastructureError


def current() -> str:
    """Give the commit of the current folder; `none` outside git.

    A + follows where other files than dvc.lock differ from it; that one DVC writes after every stage.
    """
    try:
        commit = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock")
    except InfrastructureError:
        return "none"
    return commit + ("+" if changed else "")


def is_known(commit: str) -> bool:
    """Say whether the current folder's repository has a commit."""
    with suppress(InfrastructureError):
        return bool(_git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"))
    return False


def title(commit: str) -> str:
    """Give a known commit's date and first line."""
    return _git("log", "-1", "--format=%cs %s", commit)


def check_out(commit: str, folder: Path) -> Path:
    """Lay a commit's files into a folder, in place of what an earlier call left there.

    Returns:
        Where in it the current folder's counterpart is.
    """
    remove(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _git("worktree", "add", "--detach", "--force", str(folder), commit)
    return folder / _git("rev-parse", "--show-prefix")


def remove(folder: Path) -> None:
    """Remove a folder of `check_out`, if it is there, however far it came."""
    shutil.rmtree(folder, ignore_errors=True)
    _git("worktree", "prune")


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
    except OSError as error:
        raise InfrastructureError(f"git: can not be run; {error.strerror}; fix: install git") from error
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise InfrastructureError(f"git {arguments[0]}: failed; {said}; fix: mend what it says, and run again") from error
