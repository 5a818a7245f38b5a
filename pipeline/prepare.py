"""raw -> prepared: any format becomes one schema, in train, val and test, and what is suspicious in it is told."""

import json
import logging
from dataclasses import asdict

from pipeline.config import CorpusConfig, SplitConfig
from pipeline.errors import DataError
from pipeline.flaws import Flaw, Look, find_flaws, refuse
from pipeline.layout import Layout
from pipeline.splits import SPLITS, write_splits

logger = logging.getLogger(__name__)


def run(corpus: CorpusConfig, split: SplitConfig, layout: Layout, *, is_strict: bool = False) -> None:
    """Read a corpus's files and write train, val and test.parquet, a summary of what they hold, and what is wrong with that.

    Args:
        corpus: says how its files are to be read.
        split: what to cut where the corpus has no such part.
        layout: where to read and write.
        is_strict: whether to stop at what else is only told.

    Raises:
        DataError: a file can not be read, a split has no examples, or there is one label alone; strictly, any flaw.
    """
    written = write_splits(corpus, split, layout.raw_dir, layout.prepared_dir)
    for name in SPLITS:
        if name not in written.sizes:
            path = layout.prepared_dir / f"{name}.parquet"
            text = f"has no examples; {len(corpus.splits)} files were read; fix: change `split` in params.yaml"
            raise DataError(f"{path}:1:1: {text}")
        logger.info(
            "%s: %s: %s", layout.pipeline, name, ", ".join(f"{count:,} {what}" for what, count in written.sizes[name].items())
        )
    for malformed in written.malformed.values():
        if malformed.count:
            first = malformed.problems[0].at(malformed.path)
            logger.warning("%d malformed examples left out; the first: %s", malformed.count, first)
    skipped = {str(part): malformed.count for part, malformed in written.malformed.items()}
    sizes = {name: written.sizes[name] for name in SPLITS}
    (layout.prepared_dir / "summary.json").write_text(json.dumps({"skipped": skipped, **sizes}, indent=2), encoding="utf-8")
    flaws = find_flaws(Look({name: layout.prepared_dir / f"{name}.parquet" for name in SPLITS}))
    listed = [asdict(flaw) for flaw in flaws]
    layout.flaws_path.write_text(json.dumps(listed, indent=2, ensure_ascii=False), encoding="utf-8")
    _tell(layout.pipeline, flaws)
    refuse(flaws, layout.pipeline, is_strict=is_strict)


def _tell(pipeline: str, flaws: list[Flaw]) -> None:
    for flaw in flaws:
        logger.info("%s: %s", pipeline, flaw)
    if flaws:
        logger.info("%s: `unroll check` shows where; `--strict` refuses such data", pipeline)
