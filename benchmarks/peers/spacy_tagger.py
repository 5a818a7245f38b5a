"""spaCy's tagger for CPUs as it comes: HashEmbedCNN, 96 wide, 4 deep; asked Docs of words through `nlp.pipe`.

    python benchmarks/peers/spacy_tagger.py train <train.json> <val.json> <folder>

trains two epochs and writes the pipeline; else see asking.py. The variant is the number of processes.
"""

import random
import sys

from asking import Sentences, Tagger, answer

EPOCHS, DROPOUT = 2, 0.1
LANGUAGE = "pt"


def train(train_path: str, folder: str) -> None:
    """Train with spaCy's defaults, in batches of 100 to 1,000 words that grow, as its quickstart has it."""
    import json
    from pathlib import Path

    import spacy
    from spacy.tokens import Doc
    from spacy.training import Example
    from spacy.training.batchers import minibatch_by_words
    from spacy.util import compounding, fix_random_seed

    fix_random_seed(1)
    nlp = spacy.blank(LANGUAGE)
    nlp.add_pipe("tagger")
    given = json.loads(Path(train_path).read_text(encoding="utf-8"))
    rows = zip(given["tokens"], given["labels"], strict=True)
    examples = [Example.from_dict(Doc(nlp.vocab, words=words), {"words": words, "tags": tags}) for words, tags in rows]
    optimizer = nlp.initialize(lambda: examples)
    sizes = compounding(100, 1000, 1.001)
    for _ in range(EPOCHS):
        random.shuffle(examples)
        for batch in minibatch_by_words(examples, size=sizes):
            nlp.update(batch, sgd=optimizer, drop=DROPOUT)
    nlp.to_disk(folder)


def load(model: str, variant: str, size: int) -> Tagger:
    import spacy
    from spacy.tokens import Doc

    nlp = spacy.load(model)

    def tag(sentences: Sentences) -> Sentences:
        docs = (Doc(nlp.vocab, words=words) for words in sentences)
        return [[token.tag_ for token in doc] for doc in nlp.pipe(docs, batch_size=size, n_process=int(variant))]

    return tag


if __name__ == "__main__":
    if sys.argv[1] == "train":
        train(sys.argv[2], sys.argv[4])
    else:
        answer(load, num_children=int(sys.argv[2]) if int(sys.argv[2]) > 1 else 0)
