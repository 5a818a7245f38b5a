"""The JSON Schemas of params.yaml and corpora.yaml, which editors read from `docs/`."""

import json
from pathlib import Path

from pipeline.config import Catalogue, Config, json_schema

SCHEMAS = {"params.schema.json": Config, "corpora.schema.json": Catalogue}


def write(folder: Path = Path("docs")) -> None:
    """Write both schemas into a folder."""
    for name, root in SCHEMAS.items():
        (folder / name).write_text(json.dumps(json_schema(root), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
