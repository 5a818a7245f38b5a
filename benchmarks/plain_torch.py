"""The bar: a tagger and a classifier in plain PyTorch, as a good engineer writes them in an afternoon.

Tagging: word embedding 100 + character BiLSTM 2 x 25 -> BiLSTM 2 x 200 -> softmax, on CoNLL-U files. Classification: word
embedding 100 -> BiLSTM 2 x 128, final states -> softmax, on lines of label, TAB, words. It shares no code with what it judges,
and prints a JSON object per line: `data`, `first_step`, `epoch`, `inference`, `end`.

    python benchmarks/plain_torch.py --train train.conllu --val dev.conllu --test test.conllu [--batches random] [--epochs 5]

Bucketed batches (the default) are neighbours in length: their words run dense, their characters packed. Random ones run packed.
With --precision=bfloat16 the whole network trains under autocast.
"""

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from peak import peak_mb
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

Example = tuple[list[str], list[str]]
PAD, UNKNOWN, IGNORED = 0, 1, -100
WORD_SIZE, CHAR_SIZE, LONGEST_WORD, EVALUATION_ROWS = 100, 25, 30, 128
SINGLETON_DROPOUT = 0.5


def read_conllu(path: Path) -> list[Example]:
    """Read words and their universal tags; ranges and empty nodes are no words."""
    examples: list[Example] = []
    words: list[str] = []
    tags: list[str] = []
    with path.open(encoding="utf-8") as lines:
        for line in [*lines, "\n"]:
            if line == "\n":
                if words:
                    examples.append((words, tags))
                words, tags = [], []
            elif not line.startswith("#"):
                columns = line.split("\t")
                if columns[0].isdigit():
                    words.append(columns[1])
                    tags.append(columns[3])
    return examples


def read_labelled(path: Path) -> list[Example]:
    """Read label, TAB, words per line."""
    with path.open(encoding="utf-8") as lines:
        return [(text.split(), [label]) for label, text in (line.rstrip("\n").split("\t") for line in lines)]


READERS: dict[str, Callable[[Path], list[Example]]] = {"tagging": read_conllu, "classification": read_labelled}


class Vocab:
    """Ids of words, characters and labels, from the training examples."""

    def __init__(self, examples: list[Example]) -> None:
        counts = Counter(word.lower() for words, _ in examples for word in words)
        self.words = {word: number for number, word in enumerate(counts, start=2)}
        chars = dict.fromkeys("".join(word for words, _ in examples for word in words))
        self.chars = {char: number for number, char in enumerate(chars, start=2)}
        self.labels = sorted({label for _, labels in examples for label in labels})
        self.is_single = torch.tensor([False, False, *(count == 1 for count in counts.values())])


@dataclass
class Split:
    """Encoded examples, each three vectors of ids, and the characters of every distinct form among them."""

    words: list[Tensor]
    forms: list[Tensor]
    labels: list[Tensor]
    chars: Tensor
    char_lengths: Tensor

    @property
    def num_words(self) -> int:
        return sum(map(len, self.words))


def encode(examples: list[Example], vocab: Vocab) -> Split:
    labels = {label: number for number, label in enumerate(vocab.labels)}
    forms: dict[str, int] = {}
    split = Split([], [], [], torch.empty(0), torch.empty(0))
    for words, gold in examples:
        split.words.append(torch.tensor([vocab.words.get(word.lower(), UNKNOWN) for word in words]))
        split.forms.append(torch.tensor([forms.setdefault(word, len(forms)) for word in words]))
        split.labels.append(torch.tensor([labels.get(label, IGNORED) for label in gold]))
    chars = [torch.tensor([vocab.chars.get(char, UNKNOWN) for char in form[:LONGEST_WORD]]) for form in forms]
    split.chars, split.char_lengths = pad_sequence(chars, batch_first=True), torch.tensor([len(ids) for ids in chars])
    return split


@dataclass
class Batch:
    """Padded rows, the longest first."""

    rows: list[int]
    words: Tensor
    forms: Tensor
    labels: Tensor
    lengths: Tensor


def batches(split: Split, size: int, *, shuffle: bool, by_length: bool) -> Iterator[Batch]:
    order = list(range(len(split.words)))
    if shuffle:
        random.shuffle(order)
    if by_length:
        order.sort(key=lambda row: len(split.words[row]))
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    if shuffle:
        random.shuffle(groups)
    for rows in groups:
        rows.sort(key=lambda row: -len(split.words[row]))
        words, forms = (pad_sequence([ids[row] for row in rows], batch_first=True) for ids in (split.words, split.forms))
        labels = pad_sequence([split.labels[row] for row in rows], batch_first=True, padding_value=IGNORED)
        yield Batch(rows, words, forms, labels, torch.tensor([len(split.words[row]) for row in rows]))


def final_states(state: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    """Give both directions' last states of the uppermost layer, side by side."""
    hidden = state[0] if isinstance(state, tuple) else state
    return torch.cat([hidden[-2], hidden[-1]], dim=1)


class Tagger(nn.Module):
    def __init__(self, vocab: Vocab, options: argparse.Namespace) -> None:
        super().__init__()
        layer = getattr(nn, options.cell)
        self.is_packed = options.batches == "random"
        self.words = nn.Embedding(len(vocab.words) + 2, WORD_SIZE, padding_idx=PAD)
        nn.init.uniform_(self.words.weight, -0.17, 0.17)
        self.chars = nn.Embedding(len(vocab.chars) + 2, CHAR_SIZE, padding_idx=PAD)
        self.char_rnn = layer(CHAR_SIZE, CHAR_SIZE, batch_first=True, bidirectional=True)
        between = options.dropout if options.layers > 1 else 0
        size = WORD_SIZE + 2 * CHAR_SIZE
        self.rnn = layer(size, options.hidden, options.layers, batch_first=True, bidirectional=True, dropout=between)
        self.output = nn.Linear(2 * options.hidden, len(vocab.labels))
        self.dropout = nn.Dropout(options.dropout)

    def spell(self, forms: Tensor, split: Split) -> Tensor:
        lengths = split.char_lengths[forms.flatten()]
        vectors = self.dropout(self.chars(split.chars[forms.flatten(), : int(lengths.max())]))
        packed = pack_padded_sequence(vectors, lengths, batch_first=True, enforce_sorted=False)
        return final_states(self.char_rnn(packed)[1]).view(*forms.shape, -1)

    def forward(self, batch: Batch, split: Split) -> Tensor:
        inputs = self.dropout(torch.cat([self.words(batch.words), self.spell(batch.forms, split)], dim=2))
        if self.is_packed:
            packed = pack_padded_sequence(inputs, batch.lengths, batch_first=True)
            outputs = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)[0]
        else:
            outputs = self.rnn(inputs)[0]
        return self.output(self.dropout(outputs))


class Classifier(nn.Module):
    def __init__(self, vocab: Vocab, options: argparse.Namespace) -> None:
        super().__init__()
        layer = getattr(nn, options.cell)
        self.is_packed = options.batches == "random"
        self.words = nn.Embedding(len(vocab.words) + 2, WORD_SIZE, padding_idx=PAD)
        nn.init.uniform_(self.words.weight, -0.17, 0.17)
        self.rnn = layer(WORD_SIZE, options.hidden, options.layers, batch_first=True, bidirectional=True)
        self.output = nn.Linear(2 * options.hidden, len(vocab.labels))
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, batch: Batch, split: Split) -> Tensor:
        inputs = self.dropout(self.words(batch.words))
        if self.is_packed:
            final = final_states(self.rnn(pack_padded_sequence(inputs, batch.lengths, batch_first=True))[1])
        else:  # the backward direction begins in the little padding that there is
            ahead, back = self.rnn(inputs)[0].chunk(2, dim=2)
            final = torch.cat([ahead[torch.arange(len(inputs)), batch.lengths - 1], back[:, 0]], dim=1)
        return self.output(self.dropout(final)).unsqueeze(1)


NETWORKS: dict[str, type[Tagger | Classifier]] = {"tagging": Tagger, "classification": Classifier}


def say(event: str, **values: float) -> None:
    print(json.dumps({"event": event, **values}), flush=True)


def train_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, split: Split, vocab: Vocab, options: argparse.Namespace
) -> int:
    """Make the steps of one epoch, or the first few if so asked; returns the words in them."""
    model.train()
    num_words = 0
    for step, batch in enumerate(batches(split, options.batch, shuffle=True, by_length=options.batches == "bucketed"), start=1):
        is_dropped = vocab.is_single[batch.words] & (torch.rand(batch.words.shape) < SINGLETON_DROPOUT)
        batch.words = batch.words.masked_fill(is_dropped, UNKNOWN)
        with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bfloat16"):
            logits = model(batch, split).float()
        loss = F.cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        loss.item()  # whoever trains looks at it
        num_words += int(batch.lengths.sum())
        if step == 1 and not options.has_begun:
            options.has_begun = True
            say("first_step")
        if step == options.steps:
            break
    return num_words


@torch.inference_mode()
def predict(model: nn.Module, split: Split) -> list[Tensor]:
    """Give each example's label ids, in order."""
    model.eval()
    predicted: list[Tensor] = [torch.empty(0)] * len(split.words)
    for batch in batches(split, EVALUATION_ROWS, shuffle=False, by_length=True):
        for row, labels in zip(batch.rows, model(batch, split).argmax(dim=2), strict=True):
            predicted[row] = labels[: len(split.labels[row])]
    return predicted


def accuracy(model: nn.Module, split: Split) -> float:
    return float((torch.cat(predict(model, split)) == torch.cat(split.labels)).float().mean())


def infer(model: nn.Module, examples: list[Example], vocab: Vocab) -> None:
    """Time the test split: from encoded words to scores, and from words as text to labels as text."""
    split = encode(examples, vocab)
    for _ in range(3):
        start = time.perf_counter()
        accuracy(model, split)
        encoded_seconds = time.perf_counter() - start
        start = time.perf_counter()
        labels = predict(model, encode([(words, []) for words, _ in examples], vocab))
        _ = [[vocab.labels[number] for number in row.tolist()] for row in labels]
        text_seconds = time.perf_counter() - start
        say("inference", encoded=split.num_words / encoded_seconds, text=split.num_words / text_seconds)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("train", "val", "test"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--task", choices=sorted(NETWORKS), default="tagging")
    parser.add_argument("--cell", choices=["LSTM", "GRU", "RNN"], default="LSTM")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--batches", choices=["bucketed", "random"], default="bucketed")
    for name, value in {"layers": 1, "hidden": 0, "epochs": 5, "batch": 32, "threads": 2, "seed": 1, "steps": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--until", type=float, default=1.0, help="end with the first epoch of this validation accuracy")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--dropout", type=float, default=0.4)
    options = parser.parse_args()
    options.hidden = options.hidden or {"tagging": 200, "classification": 128}[options.task]
    options.has_begun = False
    return options


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    random.seed(options.seed)
    examples = {name: READERS[options.task](getattr(options, name)) for name in ("train", "val", "test")}
    vocab = Vocab(examples["train"])
    train, val = (encode(examples[name], vocab) for name in ("train", "val"))
    model = NETWORKS[options.task](vocab, options)
    optimizer = torch.optim.Adam(model.parameters(), options.lr)
    say("data", words=train.num_words, examples=len(train.words), parameters=sum(p.numel() for p in model.parameters()))
    for epoch in range(1, options.epochs + 1):
        start = time.perf_counter()
        num_words = train_epoch(model, optimizer, train, vocab, options)
        seconds = time.perf_counter() - start
        score = accuracy(model, val)
        say("epoch", epoch=epoch, seconds=seconds, words_per_second=num_words / seconds, val=score)
        if score >= options.until:
            break
    infer(model, examples["test"], vocab)
    say("end", peak_mb=peak_mb(), test=accuracy(model, encode(examples["test"], vocab)))


if __name__ == "__main__":
    main()
