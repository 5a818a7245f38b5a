"""docs/lecture.md tells the truth: its snippets run and print what it shows, its links lead where they say.

`python tests/unit/test_lecture.py` rewrites the line numbers of its links and draws its pictures anew.
"""

import ast
import os
import re
import sys
import warnings
from contextlib import redirect_stdout
from dataclasses import fields
from functools import cache
from io import StringIO
from pathlib import Path

import pytest
import torch

from models.config import ModelConfig
from pipeline.config import EncodeConfig, TrainConfig

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LECTURE = DOCS / "lecture.md"
TEXT = LECTURE.read_text(encoding="utf-8")
PICTURES = "Every network of a lecture on recurrent networks"

CODE_LINK = re.compile(r"\[`([\w.]+)`\]\(([^)#\s]+\.py)#L(\d+)\)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
MATH = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$")
PROSE = FENCED.sub("", TEXT)


def read_sections(text):
    """Give each heading's text, up to the next heading of any level; a comment in a snippet is none."""
    sections, heading, is_code = {}, "", False
    for line in text.splitlines(keepends=True):
        is_code ^= line.startswith("```")
        if line.startswith("#") and not is_code:
            heading = line.lstrip("#").strip()
        else:
            sections[heading] = sections.get(heading, "") + line
    return sections


def find_snippets(body):
    """List a section's Python snippets, each with the output that is shown right after it, or None."""
    fences = list(FENCED.finditer(body))
    snippets = []
    for number, fence in enumerate(fences):
        if fence[1] == "python":
            after = fences[number + 1] if number + 1 < len(fences) else None
            is_shown = after is not None and after[1] == "text" and not body[fence.end() : after.start()].strip()
            snippets.append((fence[2], after[2] if is_shown else None))
    return snippets


SECTIONS = read_sections(TEXT)
CONCEPTS = {heading: body for heading, body in SECTIONS.items() if heading[:1].isdigit()}
SNIPPETS = {
    heading if number == 1 else f"{heading} ({number})": snippet
    for heading, body in SECTIONS.items()
    for number, snippet in enumerate(find_snippets(body), start=1)
}


def run_snippet(code, heading):
    """Run it in a namespace of its own and give what it prints; the generator of the process is left as it was."""
    printed = StringIO()
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), redirect_stdout(printed):
        warnings.simplefilter("error")
        torch.manual_seed(0)
        exec(compile(code, f"<lecture: {heading}>", "exec"), {"__name__": "__main__"})
    return printed.getvalue()


@cache
def find_definitions(path):
    """Give the line of every function, class, method and named value of a file, by its dotted name."""
    lines = {}

    def visit(node, prefix):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                lines.setdefault(prefix + child.name, child.lineno)
                visit(child, f"{prefix}{child.name}.")
            elif isinstance(child, ast.Assign | ast.AnnAssign):
                for target in child.targets if isinstance(child, ast.Assign) else [child.target]:
                    if isinstance(target, ast.Name):
                        lines.setdefault(prefix + target.id, child.lineno)

    visit(ast.parse(path.read_text(encoding="utf-8")), "")
    return lines


def find_line(name, target):
    """Give the line where a linked name is defined, or None."""
    path = (DOCS / target).resolve()
    return find_definitions(path).get(name) if path.exists() else None


def refresh():
    """Rewrite the line numbers and draw the pictures; says what could not be found."""
    missing = []

    def with_line(link):
        line = find_line(link[1], link[2])
        if line is None:
            missing.append(f"{link[1]} is not defined in {link[2]}")
            return link[0]
        return f"[`{link[1]}`]({link[2]}#L{line})"

    LECTURE.write_text(CODE_LINK.sub(with_line, TEXT), encoding="utf-8")
    os.chdir(DOCS)
    run_snippet(SNIPPETS[PICTURES][0], PICTURES)
    return missing


@pytest.mark.parametrize("heading", SNIPPETS)
def test_a_snippet_prints_what_is_shown(heading, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, shown = SNIPPETS[heading]
    printed = run_snippet(code, heading)
    assert printed == (shown or "")


@pytest.mark.parametrize(("name", "target", "line"), CODE_LINK.findall(PROSE), ids=lambda value: value.removeprefix("../"))
def test_a_link_leads_to_the_line_where_its_name_is_defined(name, target, line):
    right = find_line(name, target)
    assert right is not None, f"{target} defines no {name}"
    assert int(line) == right, f"{name} is in line {right} of {target}, not {line}; fix: python tests/unit/test_lecture.py"


def test_every_link_into_python_names_what_is_there():
    assert [link for link in LINK.findall(PROSE) if ".py" in link] == [f"{t}#L{n}" for _, t, n in CODE_LINK.findall(PROSE)]


@pytest.mark.parametrize("link", sorted({link.partition("#")[0] for link in LINK.findall(PROSE) if "://" not in link}))
def test_every_relative_link_exists(link):
    path = (DOCS / link).resolve()
    assert path.exists() and path.is_relative_to(ROOT)


@pytest.mark.parametrize("heading", CONCEPTS)
def test_every_concept_has_its_equation_its_code_its_test_and_its_snippet(heading):
    body = CONCEPTS[heading]
    targets = [target for _, target, _ in CODE_LINK.findall(body)]
    assert "$$" in body and find_snippets(body)
    assert any("/tests/" in target for target in targets) and any("/tests/" not in target for target in targets)


def test_the_pictures_are_those_that_the_lecture_draws(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_snippet(SNIPPETS[PICTURES][0], PICTURES)
    drawn = sorted(tmp_path.iterdir())
    assert [path.name for path in drawn] == sorted(re.findall(r"!\[.*?\]\((.+?)\)", PROSE))
    for path in drawn:
        assert path.read_bytes() == (DOCS / path.name).read_bytes(), "fix: python tests/unit/test_lecture.py"


def test_keys_of_params_are_those_there_are_and_none_of_the_network_is_left_out():
    known = {"model": ModelConfig, "encode": EncodeConfig, "train": TrainConfig}
    named = {section: set(re.findall(rf"`{section}\.(\w+)`", PROSE)) for section in known}
    for section, config in known.items():
        assert named[section] <= {item.name for item in fields(config)}
    assert named["model"] == {item.name for item in fields(ModelConfig)}


def test_no_equation_holds_what_markdown_takes_away():
    """Where Markdown reads first: a backslash before punctuation, stars, `<`, and underscores that could begin emphasis."""
    for block, inline in MATH.findall(PROSE):
        assert not re.search(r"\\[^A-Za-z]|[*<]|\W_", block or inline), block or inline


if __name__ == "__main__":
    sys.exit("\n".join(refresh()) or None)
