"""catalogue -> raw: a corpus's files, and those of its pre-trained vectors, as they came."""

import logging
import shutil

from pipeline.config import CorpusConfig, VectorsConfig
from pipeline.layout import Layout
from pipeline.sources import fetch_source

logger = logging.getLogger(__name__)


def run(name: str, corpus: CorpusConfig, layout: Layout, vectors: tuple[str, VectorsConfig] | None) -> None:
    """Fetch a corpus into a pipeline's raw folder.

    Args:
        name: of the corpus in the catalogue.
        corpus: its entry.
        layout: where it goes.
        vectors: name and entry of pre-trained vectors to fetch beside it.
    """
    shutil.rmtree(layout.raw_dir, ignore_errors=True)
    fetch_source(corpus.source, name, layout.raw_dir)
    if vectors is not None:
        vectors_name, entry = vectors
        fetch_source(entry.source, vectors_name, layout.raw_dir / "vectors")
    sizes = {path.name: path.stat().st_size for path in sorted(layout.raw_dir.rglob("*")) if path.is_file()}
    told = ", ".join(f"{file} {size / 1e6:.1f} MB" for file, size in sizes.items())
    logger.info("%s: %s: %s", layout.pipeline, name, told)
