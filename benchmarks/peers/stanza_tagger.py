"""Stanza's tagger in its default sizes, without pre-trained vectors and character models: those would have to be downloaded.

    python benchmarks/peers/stanza_tagger.py train <train.json> <val.json> <folder>

trains some steps with Stanza's own program and writes the tagger; else see asking.py. It is asked lists of words through
`stanza.Pipeline`, all sentences in one call. The variant is the number of torch's threads.
"""

import json
import subprocess
import sys
from pathlib import Path

from asking import Sentences, Tagger, answer

STEPS, SENTENCES = 200, 32
NAME = "tagger.pt"


def train(train_path: str, val_path: str, folder: str) -> None:
    place = Path(folder)
    place.mkdir(parents=True)
    files = {"--train_file": place / "train.conllu", "--eval_file": place / "val.conllu"}
    for path, given in zip(files.values(), (train_path, val_path), strict=True):
        _write_conllu(path, json.loads(Path(given).read_text(encoding="utf-8")))
    (place / "resources.json").write_text("{}", encoding="utf-8")  # of what could be downloaded: nothing
    command = [sys.executable, "-m", "stanza.models.tagger", "--mode", "train", "--lang", "pt", "--shorthand", "pt_own"]
    command += ["--no_pretrain", "--cpu", "--save_dir", folder, "--save_name", NAME, "--output_file", str(place / "out.conllu")]
    command += ["--max_steps", str(STEPS), "--batch_size", str(SENTENCES), "--eval_interval", str(STEPS), "--fix_eval_interval"]
    subprocess.run(command + [str(part) for pair in files.items() for part in pair], check=True)


def _write_conllu(path: Path, given: dict[str, Sentences]) -> None:
    """Write words and universal tags; other columns stay empty."""
    with path.open("w", encoding="utf-8") as file:
        for words, tags in zip(given["tokens"], given["labels"], strict=True):
            for i, (word, tag) in enumerate(zip(words, tags, strict=True)):
                head = (0, "root") if i == 0 else (1, "dep")
                file.write(f"{i + 1}\t{word}\t_\t{tag}\t_\t_\t{head[0]}\t{head[1]}\t_\t_\n")
            file.write("\n")


def load(model: str, variant: str, size: int) -> Tagger:
    import stanza
    import torch

    torch.set_num_threads(int(variant))
    nlp = stanza.Pipeline(
        "pt",
        dir=model,
        processors={"tokenize": "default", "pos": "default"},
        tokenize_pretokenized=True,
        pos_model_path=str(Path(model) / NAME),
        pos_batch_size=size,
        download_method=None,
        allow_unknown_language=True,
        use_gpu=False,
        logging_level="ERROR",
    )
    return lambda sentences: [[word.upos for word in sentence.words] for sentence in nlp(sentences).sentences]


if __name__ == "__main__":
    if sys.argv[1] == "train":
        train(*sys.argv[2:])
    else:
        answer(load)
