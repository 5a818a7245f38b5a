"""Names of files that stay where they are put: what comes from elsewhere must not choose a place on this machine."""

from pathlib import PureWindowsPath


def is_plain(name: str) -> bool:
    """Say whether a name is that of a file right in a folder, on any system: no path, no drive, nothing that is not printed."""
    elsewhere = PureWindowsPath(name)
    return name not in ("", ".", "..") and name.isprintable() and elsewhere.parts == (name,) and not elsewhere.drive


def is_inside(path: str) -> bool:
    """Say whether a path with slashes leads from a folder down to a file in it, each of its parts a plain name."""
    return all(is_plain(part) for part in path.split("/"))
