"""The JSON Schemas of params.yaml and corpora.yaml, which editors read from `docs/`."""

import json
from pathlib import Path
from typing import Any

from pipeline.config import Catalogue, Config

SCHEMAS = {"params.schema.json": Config, "corpora.schema.json": Catalogue}


def json_schema(root: type) -> dict[str, Any]:
    """Give the JSON Schema of a file, for editors. `root` is `Config` or `Catalogue`."""
    from pydantic import TypeAdapter

    return TypeAdapter(root).json_schema()


def write(folder: Path = Path("docs")) -> None:
    """Write both schemas into a folder."""
    for name, root in SCHEMAS.items():
        (folder / name).write_text(json.dumps(json_schema(root), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
