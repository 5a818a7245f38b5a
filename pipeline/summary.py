"""A pipeline's network as a table of layers and parameters, before it is trained."""

import json
from dataclasses import replace
from typing import Any

from models.config import ModelConfig, Sizes
from models.network import build_network
from models.table import summary
from pipeline.config import CorpusConfig
from pipeline.errors import ParamsError
from pipeline.layout import Layout
from pipeline.manifest import check_manifest


def run(model: ModelConfig, corpus: CorpusConfig, layout: Layout, sizes: dict[str, Any]) -> None:
    """Print the table.

    Args:
        model: the network.
        corpus: what it is for.
        layout: where the encoded corpus is, which says how large the tables are.
        sizes: fields of `Sizes` that are given instead; without an encoded corpus all that the network needs.

    Raises:
        IntegrityError: the encoded corpus is not what encode wrote.
        ParamsError: the corpus is not encoded, and no sizes are given.
    """
    path = layout.encoded_dir / "summary.json"
    if path.exists():
        check_manifest(layout.encoded_dir, fix=f"run `unroll encode -p {layout.pipeline}` again")
        stored = json.loads(path.read_text(encoding="utf-8"))["sizes"]
        print(summary(build_network(model, Sizes.load(stored | sizes))))
        return
    needed = ["num_labels"] + ["num_words"] * (model.word_size > 0) + ["num_chars"] * (model.char_hidden != 0)
    if corpus.is_numeric or model.features or model.heads or any(name not in sizes for name in needed):
        options = ", ".join(f"--{name.replace('_', '-')}" for name in needed)
        raise ParamsError(
            f"{path}: is not there; the corpus says how large the tables are; fix: `dvc repro encode@{layout.pipeline}` first, "
            f"or, for words and characters alone, give {options}"
        )
    print(summary(build_network(model, replace(Sizes(corpus.task, 0, 0, 0), **sizes))))
