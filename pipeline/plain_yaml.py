"""YAML as far as settings need it: mappings, lists and scalars. It builds nothing else, however a file asks for it.

Tags, which can name Python objects, and aliases, which make a small file a huge tree, are refused where they stand, before
anything is built of them; so are nesting and length that no person writes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.constructor import RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, ScalarEvent
from ruamel.yaml.nodes import MappingNode
from ruamel.yaml.scanner import RoundTripScanner

_MOST_BYTES = 256 << 10
_MOST_NODES = 10_000
_DEEPEST = 20
_LONGEST = 3000
"""Characters of what stands without quotes, such as a number: Python itself reads one of some thousand digits."""


class YamlError(Exception):
    """What is wrong with a file, at its place (lines and columns from 1)."""

    def __init__(self, text: str, line: int = 1, column: int = 1) -> None:
        super().__init__(text)
        self.line, self.column = line, column


def read_yaml(path: Path) -> Any:
    """Read a file into mappings and lists that know their lines.

    Raises:
        YamlError: it can not be read, or holds more than settings.
    """
    with _told():
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise YamlError(f"is longer than {_MOST_BYTES:,} bytes; settings are not; fix: name another file, or shorten it")
        yaml = YAML(typ="rt")
        yaml.Scanner, yaml.Composer, yaml.Constructor = _PlainScanner, _PlainComposer, _PlainConstructor
        return yaml.load(content.decode("utf-8"))


@contextmanager
def _told() -> Iterator[None]:
    """Turn every error into one with its place and a remedy."""
    try:
        yield
    except OSError as error:
        raise YamlError(f"can not be read; {error.strerror}; fix: run in the project's folder") from error
    except _RefusedError as error:
        raise YamlError(str(error.problem), error.problem_mark.line + 1, error.problem_mark.column + 1) from error
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise YamlError(f"is not YAML; {str(error.problem).splitlines()[0]}; fix: mend the line", line, column) from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise YamlError(f"is not YAML; {str(error).splitlines()[0]}; fix: write it anew in UTF-8") from error


class _RefusedError(MarkedYAMLError):
    def __init__(self, text: str, mark: Any) -> None:
        super().__init__(problem=text, problem_mark=mark)


_TOO_DEEP = f"is nested more than {_DEEPEST} deep; settings are not; fix: take levels out"


class _PlainScanner(RoundTripScanner):
    def fetch_flow_collection_start(self, token_class: Any, to_push: str) -> None:
        """Stop at brackets within brackets here: the scanner reads a line ahead, which costs the square of their number."""
        if len(self.flow_context) >= _DEEPEST:
            raise _RefusedError(_TOO_DEEP, self.reader.get_mark())
        super().fetch_flow_collection_start(token_class, to_push)


class _PlainComposer(Composer):
    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self._num_nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Look at what comes next before a node is made of it; the parser reads no further than that."""
        event = self.parser.peek_event()
        self._demand_plain(event, is_key=isinstance(parent, MappingNode) and index is None)
        return super().compose_node(parent, index)

    def _demand_plain(self, event: Any, *, is_key: bool) -> None:
        if isinstance(event, AliasEvent):
            raise _RefusedError(
                f"*{event.anchor} is an alias; none is followed; fix: write out what it stands for", event.start_mark
            )
        if getattr(event, "ctag", None) is not None:
            raise _RefusedError(f"{event.ctag} is a tag; nothing is built of it; fix: leave it out", event.start_mark)
        if self.depth >= _DEEPEST:
            raise _RefusedError(_TOO_DEEP, event.start_mark)
        self._num_nodes += 1
        if self._num_nodes > _MOST_NODES:
            raise _RefusedError(
                f"is one value more than {_MOST_NODES:,}; settings are fewer; fix: shorten the file", event.start_mark
            )
        if is_key and not isinstance(event, ScalarEvent):
            raise _RefusedError("is a key that is no text; fix: give it a name", event.start_mark)
        if isinstance(event, ScalarEvent) and not event.style and len(event.value) > _LONGEST:
            text = f"is a value of {len(event.value):,} characters; {_LONGEST:,} are read without quotes; fix: shorten it"
            raise _RefusedError(text, event.start_mark)


class _PlainConstructor(RoundTripConstructor):
    def construct_non_recursive_object(self, node: Any, tag: Any = None) -> Any:
        """Say where it stands what looks like a date or a number and is none."""
        try:
            return super().construct_non_recursive_object(node, tag)
        except (ValueError, OverflowError) as error:
            text = f"{node.value[:40]!r} is no value; {error}; fix: mend it, or put it in quotes"
            raise _RefusedError(text, node.start_mark) from error
