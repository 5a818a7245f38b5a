"""The same under atheris: input that grows where it reaches code that none reached before. Arguments are libFuzzer's.

    python tests/fuzz/guided.py -max_total_time=300

The first byte chooses the reader. What ends in anything but an example or a data error is kept as `crash-*` in .unroll/fuzz.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pipeline"]):
    from mutation import SEEDS
    from readers import KEPT, MEMORY, outcome

NAMES = list(SEEDS)


def main() -> None:
    """Fuzz until time is over."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.exists() else None) as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, name in enumerate(NAMES):
            (corpus / name).write_bytes(bytes([number]) + SEEDS[name][1].encode())

        def read(data: bytes) -> None:
            if data:
                outcome(data[1:], SEEDS[NAMES[data[0] % len(NAMES)]][0], Path(folder))

        atheris.Setup([sys.argv[0], f"-artifact_prefix={KEPT}/", *sys.argv[1:], str(corpus)], read)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
