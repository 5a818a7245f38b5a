"""Is this data fit to be trained on? Every malformed line, what is repaired, and what is suspicious in well-formed ones."""

import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import polars as pl
from rich.console import Console
from rich.table import Table

from models.config import Task
from pipeline import fetch
from pipeline.checks import did_you_mean
from pipeline.config import Catalogue, Columns, CorpusConfig, Format, PathSource, SplitConfig
from pipeline.errors import DataError, ParamsError
from pipeline.flaws import SINGLE_LABEL, Flaw, Look, find_flaws
from pipeline.layout import Layout
from pipeline.reading import Malformed
from pipeline.repairs import count_repairs
from pipeline.splits import SPLITS, UnreadableError, write_splits

FORMATS: dict[str, Format] = {
    ".conllu": "conllu",
    ".conll": "columns",
    ".bio": "columns",
    ".iob": "columns",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".label": "labelled-lines",
    ".tab": "orange-tab",
    ".ts": "sktime-ts",
}
"""The ending of a file's name -> its format."""
_TAGGING: tuple[Format, ...] = ("conllu", "columns")
_COLUMNS: dict[Format, Columns] = {"conllu": Columns("form", "upos"), "columns": Columns("0", "1")}
_CUTS = (0.95, 0.99)


@dataclass(frozen=True)
class Asked:
    """What is to be checked.

    Attributes:
        name: for people.
        corpus: says how the files are to be read.
        raw_dir: with them.
        split: what to cut; None where there are only files.
    """

    name: str
    corpus: CorpusConfig
    raw_dir: Path
    split: SplitConfig | None


@dataclass(frozen=True)
class Checked:
    """What was found.

    Attributes:
        sizes: split -> counts, and quantiles of the length: `median`, `p95`, `p99`, `longest`, and, for each of the middle two,
            the share of steps that a cut there would cost.
        malformed: file -> what is malformed.
        repairs: file -> what is repaired -> how often.
        flaws: what is suspicious; `at` of each says where its first word stands.
        is_skipped: whether the corpus has malformed examples left out.
    """

    asked: Asked
    sizes: dict[str, dict[str, float]]
    malformed: dict[str, Malformed]
    repairs: dict[str, dict[str, int]]
    flaws: list[Flaw]

    @property
    def num_malformed(self) -> int:
        """Count malformed lines."""
        return sum(found.kinds.total() for found in self.malformed.values())

    def is_wrong(self, *, is_strict: bool) -> bool:
        """Say whether such data is refused."""
        is_malformed = self.num_malformed > 0 and (is_strict or not self.asked.corpus.skip_malformed)
        return is_malformed or any(flaw.is_fatal or is_strict for flaw in self.flaws)


def find_corpus(name: str, catalogue: Catalogue, pipelines: dict[str, tuple[str, SplitConfig]]) -> Asked:
    """Take a corpus of the catalogue, fetching it where no pipeline has it yet.

    Args:
        name: of the corpus.
        catalogue: what there is.
        pipelines: pipeline -> its corpus and how it cuts it.
    """
    if name not in catalogue.corpora:
        hint = did_you_mean(name, list(catalogue.corpora))
        raise ParamsError(f"{name}: is neither a file nor a corpus of corpora.yaml; {hint}")
    corpus = catalogue.corpora[name]
    own = [(pipeline, split) for pipeline, (used, split) in pipelines.items() if used == name]
    pipeline, split = own[0] if own else (name, SplitConfig())
    layout = Layout(pipeline) if own else Layout(name, Layout(name).work_dir / "corpora")
    if not all((layout.raw_dir / file).exists() for file in corpus.splits.values()):
        with redirect_stdout(sys.stderr):  # what is printed here may be for programs
            fetch.run(name, corpus, layout, None)
    return Asked(name, corpus, layout.raw_dir, split)


def of_files(
    paths: Sequence[Path],
    form: Format | None = None,
    task: Task | None = None,
    *,
    text: str | None = None,
    label: str | None = None,
) -> Asked:
    """Take files of one format, the first of which is train.

    Args:
        paths: the files.
        form: their format, if their ending does not say it.
        task: where it is not the format's usual one.
        text: the column with the text or word, where that is not the format's usual one.
        label: that with the label.
    """
    chosen = form or FORMATS.get(paths[0].suffix.lower())
    if chosen is None:
        known = ", ".join(get_args(Format))
        raise ParamsError(f"{paths[0]}: its ending names no format; fix: give --format: {known}")
    usual = _COLUMNS.get(chosen, Columns())
    corpus = CorpusConfig(
        task=task or ("tagging" if chosen in _TAGGING else "classification"),
        format=chosen,
        language="none" if chosen == "sktime-ts" else "any",
        licence="one's own",
        source=PathSource("path", "."),
        splits=_distinct(paths),  # type: ignore[arg-type]
        columns=Columns(text or usual.text, label or usual.label),
    )
    return Asked(" ".join(map(str, paths)), corpus, Path(), None)


def _distinct(paths: Sequence[Path]) -> dict[str, str]:
    names = [path.name for path in paths]
    return {
        name if names.count(name) == 1 else f"{number}-{name}": str(path)
        for number, (name, path) in enumerate(zip(names, paths, strict=True), 1)
    }


def check(asked: Asked) -> Checked:
    """Read all files, leaving out what is malformed, and look at what is left.

    Raises:
        DataError: a file is not there, or no text at all.
    """
    lenient = replace(asked.corpus, skip_malformed=True)
    files = {part: asked.raw_dir / name for part, name in asked.corpus.splits.items()}
    with tempfile.TemporaryDirectory(prefix="unroll-") as folder:
        out_dir = Path(folder) / "splits"
        try:
            written = write_splits(lenient, asked.split, asked.raw_dir, out_dir)
        except UnreadableError as error:
            return Checked(asked, {}, _by_file(error.malformed, files), {}, [])
        wanted = asked.corpus.splits if asked.split is None else SPLITS
        look = Look({name: out_dir / f"{name}.parquet" for name in wanted if name in written.sizes})
        empty = [Flaw("empty-split", name, 0, "has no examples", is_fatal=True) for name in wanted if name not in written.sizes]
        flaws = [*empty, *(find_flaws(look) if look.files else [])]
        if asked.split is None:  # a file by itself need not be what one trains on
            flaws = [replace(flaw, is_fatal=flaw.is_fatal and flaw.kind != SINGLE_LABEL) for flaw in flaws]
        return Checked(
            asked,
            {name: written.sizes[name] | _lengths(look, name) for name in look.files},
            _by_file(written.malformed, files),
            {str(path): repairs for path in files.values() if (repairs := count_repairs(path, asked.corpus))},
            [_placed(flaw, list(files.values())) for flaw in flaws],
        )


def _by_file(malformed: dict[str, Malformed], files: dict[Any, Path]) -> dict[str, Malformed]:
    return {str(files[part]): found for part, found in malformed.items() if found.problems}


def _lengths(look: Look, split: str) -> dict[str, float]:
    steps = look.examples.filter(pl.col("split") == split)["steps"].cast(pl.Int64)
    found: dict[str, float] = {"median": float(steps.median() or 0), "longest": int(steps.max() or 0)}  # type: ignore[arg-type]
    for share in _CUTS:
        cut = int(steps.quantile(share, "higher") or 0)
        kept = int(steps.clip(upper_bound=cut).sum())
        found |= {f"p{share:.0%}".rstrip("%"): cut, f"lost at p{share:.0%}".rstrip("%"): 1 - kept / max(1, int(steps.sum()))}
    return found


def _placed(flaw: Flaw, paths: Sequence[Path]) -> Flaw:
    """Add the line and column in a file where a flaw's first word stands."""
    if not flaw.words:
        return flaw
    word = flaw.words[0].encode()
    for path in paths:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if word in line:
                    column = len(line[: line.index(word)].decode(errors="replace")) + 1
                    return replace(flaw, places=(f"{path}:{number}:{column}", *flaw.places))
    return flaw


def to_json(found: Sequence[Checked]) -> str:
    """Write what was found for programs."""
    return json.dumps([_as_data(each) for each in found], indent=2, ensure_ascii=False)


def _as_data(found: Checked) -> dict[str, Any]:
    problems = [{"file": file} | asdict(problem) for file, each in found.malformed.items() for problem in each.problems]
    kinds = {file: dict(each.kinds.most_common()) for file, each in found.malformed.items()}
    flaws = [asdict(flaw) for flaw in found.flaws]
    return {
        "name": found.asked.name,
        "splits": found.sizes,
        "problems": problems,
        "malformed_lines": kinds,
        "repairs": found.repairs,
        "flaws": flaws,
    }


def show(found: Checked, console: Console) -> None:
    """Show what was found to a person."""
    console.print(f"[bold]{found.asked.name}[/bold]: {found.asked.corpus.format}, {found.asked.corpus.task}")
    if found.sizes:
        console.print(_size_table(found.sizes))
    for malformed in found.malformed.values():
        console.print(malformed.tell(), markup=False, soft_wrap=True)
    for file, repairs in found.repairs.items():
        counted = ", ".join(f"{count:,} x {what}" for what, count in repairs.items())
        console.print(f"{file}: repaired as it is read: {counted}", markup=False, soft_wrap=True)
    if found.flaws:
        console.print(_flaw_table(found.flaws))
    if not found.num_malformed and not found.flaws:
        console.print("nothing suspicious")


def _size_table(sizes: dict[str, dict[str, float]]) -> Table:
    table = Table("split", box=None, pad_edge=False, header_style="dim")
    headings = {"examples": "examples", "steps": "steps", "labels": "labels", "median": "median length"}
    headings |= {"p95": "95 %", "p99": "99 %", "longest": "longest", "lost at p95": "lost if cut at 95 %"}
    for heading in headings.values():
        table.add_column(heading, justify="right")
    for name, size in sizes.items():
        cells = [f"{size[key]:.1%}" if key.startswith("lost") else f"{size[key]:,.0f}" for key in headings]
        table.add_row(name, *cells)
    return table


def _flaw_table(flaws: Sequence[Flaw]) -> Table:
    table = Table("", "split", "what", box=None, pad_edge=False, header_style="dim")
    table.add_column("where", overflow="fold")
    for flaw in flaws:
        level = "[red]error[/red]" if flaw.is_fatal else "[yellow]warning[/yellow]"
        table.add_row(level, flaw.split, flaw.text, "\n".join(flaw.places[:3]))
    return table


def run(asked: Sequence[Asked], *, is_strict: bool, is_json: bool) -> None:
    """Check and show.

    Args:
        asked: what.
        is_strict: whether warnings are errors.
        is_json: whether programs read it.

    Raises:
        DataError: lines are malformed, or the data can not be trained on; strictly, anything suspicious.
    """
    found = [check(each) for each in asked]
    if is_json:
        print(to_json(found))
    else:
        console = Console(highlight=False)
        for each in found:
            show(each, console)
    wrong = [each for each in found if each.is_wrong(is_strict=is_strict)]
    if wrong:
        counted = [f"{each.asked.name}: malformed lines: {each.num_malformed:,}, flaws: {len(each.flaws):,}" for each in wrong]
        raise DataError("; ".join(counted) + "; such data is refused; fix: mend what is named above")
