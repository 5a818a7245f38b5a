"""Every network of docs/networks.yaml beside its export: how far the graph is from the network, or why there is none.

    python benchmarks/zoo.py

Weights are drawn, not trained, and far from 0, so that nothing hides; a thousand batches of all shapes for each.
"""

import dataclasses
from pathlib import Path

import torch

from models.config import Sizes, Target
from models.network import Network, build_network
from models.onnx import export
from models.onnx_forms import export_forms, form_size
from pipeline.config import CAPITALISATION, CorpusConfig, PipelineConfig
from pipeline.engines import OnnxEngine
from pipeline.params import load_config
from pipeline.parity import Asked, Parity, compare_engines, draw_batches
from pipeline.trained import TorchEngine
from pipeline.vocab import CAPITALISATIONS, RESERVED, Vocab

LABELS = ("B-x", "I-x", "O", "B-y", "I-y")
VALUES = [*RESERVED, "a", "b", "c"]
WORDS = tuple(
    f"{first}{last}" for first in ("um", "da", "não", "Sol", "3", "casa") for last in ("", "s", "ão", "ndo", "-se", ".")
)
VOCAB = Vocab((*RESERVED, *WORDS), (*RESERVED, *sorted({*"".join(WORDS)})), LABELS, lowercase=False, max_word_length=30)
VECTOR_SIZE = 12


def draw_network(pipeline: PipelineConfig, corpus: CorpusConfig) -> Network:
    """Build a pipeline's network for the words and labels above."""
    columns = corpus.columns
    kinds = dict.fromkeys(columns.per_token, "tagging") | dict.fromkeys(columns.per_sequence, "classification")
    sizes = Sizes(
        corpus.task,
        len(VOCAB.words),
        len(VOCAB.chars),
        len(LABELS),
        VECTOR_SIZE if corpus.is_numeric else 0,
        num_fixed_words=10 if pipeline.vectors else 0,
        features={name: len(VALUES) for name in columns.per_token} | {CAPITALISATION: len(CAPITALISATIONS)},
        targets={name: Target(kind, len(VALUES) - len(RESERVED)) for name, kind in kinds.items()},  # type: ignore[arg-type]
        labels=LABELS,
    )
    network = build_network(pipeline.model, sizes, seed=1).eval()
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for part in network.parameters():
            part += 0.1 * torch.randn(part.shape, generator=draw)
    return network


def measure(network: Network, int8: bool = False) -> Parity:
    """Compare a network with its graph."""
    columns = [name for name in network.config.features if name != CAPITALISATION]
    vocab = dataclasses.replace(VOCAB, columns=dict.fromkeys(columns, VALUES))
    lengths, batches = draw_batches(1000)
    asked = Asked.draw(lengths, vocab, network.sizes, columns)
    forms = export_forms(network, int8) if form_size(network) else None
    return compare_engines(TorchEngine(network), OnnxEngine(export(network, int8), forms, int8), asked, vocab, batches)


def main() -> None:
    root = Path(__file__).resolve().parent.parent
    print("| pipeline | labels | largest difference of two logits | of the largest | other labels | int8: other labels |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for path in ("params.yaml", "docs/networks.yaml"):
        config, catalogue = load_config(root / path, root / "corpora.yaml")
        for name, pipeline in config.pipelines.items():
            network = draw_network(pipeline, catalogue.corpora[pipeline.corpus])
            found = measure(network)
            try:
                int8 = measure(network, int8=True)
                others = f"{int8.num_other_labels / int8.num_labels:.2%}"
            except ValueError:
                others = "-"
            row = [f"`{name}`", f"{found.num_labels:,}", f"{found.worst:.1e}", f"{found.scaled:.1e}", f"{found.num_other_labels}"]
            print("| " + " | ".join([*row, others]) + " |", flush=True)


if __name__ == "__main__":
    main()
