"""Small files of each format, and what chance, a careless hand or an enemy makes of them."""

import codecs
import json
import random

from pipeline.config import Columns, CorpusConfig, PathSource

_CONLLU = (
    "# sent_id = s1\n# text = Da un\n1-2\tDa\t_\t_\t_\t_\t_\t_\t_\t_\n"
    "1\tDe\tde\tADP\tP\tA=B\t2\tcase\t_\t_\n2\ta\to\tDET\tD\t_\t0\troot\t_\t_\n"
    "2.1\tx\t_\tX\t_\t_\t_\t_\t0:root\t_\n\n# sent_id = s2\n# intent = ask\n1\tÉ\té\tVERB\tV\t_\t0\troot\t_\tSpaceAfter=No\n\n"
)
_TS = "# note\n@problemName x\n@dimensions 2\n@data\n1.5,2,3e-1:4,5,6:up\n7,8:9,1:down\n"
_LISTS = '{"text": ["a", "b"], "label": ["X", "Y"]}\n{"text": ["ç"], "label": ["X"]}\n'
_STEPS = '{"text": [[1, 2.5], [3, -4e3]], "label": "x"}\n{"text": [[0, 0]], "label": "y"}\n'


def _corpus(
    form: str, *, text: str = "text", label: str = "label", task: str = "classification", **other: object
) -> CorpusConfig:
    source, columns = PathSource("path", "."), Columns(text, label, **other.pop("columns", {}))
    fields = {"language": "en", "licence": "own", "source": source, "splits": {"all": "c"}, "columns": columns, **other}
    return CorpusConfig(format=form, task=task, **fields)


SEEDS: dict[str, tuple[CorpusConfig, str]] = {
    "conllu": (_corpus("conllu", text="form", label="upos", task="tagging", columns={"per_token": {"xpos": "xpos"}}), _CONLLU),
    "conllu-lenient": (_corpus("conllu", text="form", label="upos", task="tagging", skip_malformed=True), _CONLLU),
    "columns": (_corpus("columns", text="0", label="1", task="tagging"), "a\tO\nb\tB-x\n\nc d\tO\nNew\tB-LOC\n"),
    "csv": (_corpus("csv"), 'text,label\na b,x\n"c, ""d""\ne",y\n'),
    "tsv": (_corpus("tsv"), 'text\tlabel\na "b\tx\nc\ty\n'),
    "jsonl": (_corpus("jsonl"), '{"text": "a b", "label": "x"}\n{"text": "\\u00e9", "label": "y"}\n'),
    "jsonl-tagging": (_corpus("jsonl", task="tagging"), _LISTS),
    "jsonl-numeric": (_corpus("jsonl", language="none"), _STEPS),
    "labelled-lines": (_corpus("labelled-lines", label="coarse"), "UP:far where to\nDOWN near\n"),
    "orange-tab": (
        _corpus("orange-tab", text="Body", label="Class"),
        "Class\tBody\nd\tstring\nclass\t\nup\tsky high\ndown\tsea\n",
    ),
    "sktime-ts": (_corpus("sktime-ts", language="none"), _TS),
}
"""Reader -> a corpus of its format, and a file that it can read."""
_PIECES = [
    b"\t",
    b"\n",
    b"\r\n",
    b"\0",
    b'"',
    b",",
    b":",
    b"-",
    b".",
    b" ",
    b"#",
    b"_",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xe2\x80\x8b",
]
_PIECES += [
    codecs.BOM_UTF8,
    codecs.BOM_UTF16_LE,
    b"1",
    b"-1",
    b"99999999999999999999",
    b"1-2",
    b"1.1",
    b"1e999",
    b"NaN",
    b"null",
    b"{}",
]
_PIECES += [
    b"[[",
    b"]",
    b"{",
    b"}",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"@data",
    b"# sent_id = s1\n",
    "é👍🏽שלום".encode(),
    b"\x1b[31m",
    b"\xe2\x80\xa8",
]
_MOST_BYTES = 4000


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Change a file in one to six places: bytes, fields, lines."""
    data = content
    for _ in range(rng.randint(1, 6)):
        data = rng.choice(_CHANGES)(data, rng)[:_MOST_BYTES]
    return data


def _place(data: bytes, rng: random.Random) -> int:
    return rng.randint(0, len(data))


def _flip(data: bytes, rng: random.Random) -> bytes:
    place = _place(data, rng)
    return data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :]


def _insert(data: bytes, rng: random.Random) -> bytes:
    place = _place(data, rng)
    return data[:place] + rng.choice(_PIECES) * rng.choice([1, 1, 1, 2, 40]) + data[place:]


def _cut(data: bytes, rng: random.Random) -> bytes:
    first, last = sorted((_place(data, rng), _place(data, rng)))
    return data[:first] + data[last:] if rng.random() < 0.5 else data[: first or None]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    first, last = sorted((_place(data, rng), _place(data, rng)))
    return data[:last] + data[first:last] * rng.choice([1, 2, 8]) + data[last:]


def _shuffle_lines(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    rng.shuffle(lines)
    return b"".join(lines)


def _drop_lines(data: bytes, rng: random.Random) -> bytes:
    return b"".join(line for line in data.splitlines(keepends=True) if rng.random() < 0.8)


def _replace(data: bytes, rng: random.Random) -> bytes:
    return data.replace(rng.choice(_PIECES), rng.choice(_PIECES), rng.choice([1, -1]))


def _change_coding(data: bytes, rng: random.Random) -> bytes:
    return data.decode(errors="ignore").encode(rng.choice(["latin-1", "utf-16", "utf-32", "cp1252"]), errors="ignore")


def _nest(data: bytes, rng: random.Random) -> bytes:
    depth = rng.choice([10, 1000])
    return data.replace(b'"x"', json.dumps("x").encode().join([b"[" * depth, b"]" * depth]), 1)


_CHANGES = [_flip, _flip, _insert, _insert, _cut, _repeat, _shuffle_lines, _drop_lines, _replace, _change_coding, _nest]
