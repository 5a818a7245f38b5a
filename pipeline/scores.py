"""What predictions are worth: scores, tables and floors, as pure functions of labels. Knows no files and no tensors.

Every score is a share between 0 and 1, never NaN: what can not be computed is absent, and 0 / 0 is 0. scikit-learn and
seqeval take seconds to import, so the functions that use them import them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import chain
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

Entity = tuple[str, int, int]  # type, first and last position in the joined sentences


class LabelRow(TypedDict):
    """How well one label is found; support is its number of gold occurrences."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


def is_bio(labels: Iterable[str]) -> bool:
    """Say whether labels mark entities: O, B-type and I-type only, and not O alone."""
    marks = set(labels) - {"O"}
    return bool(marks) and all(mark[:2] in ("B-", "I-") and len(mark) > 2 for mark in marks)


def tagging_scores(
    gold: list[list[str]],
    predicted: list[list[str]],
    known: list[list[bool]],
    tokens: list[list[str]] | None = None,
) -> dict[str, float]:
    """Score a label per token.

    Args:
        gold: per sentence, the labels of its tokens.
        predicted: in the shape of `gold`.
        known: in the shape of `gold`, whether the token's word form occurs in train.
        tokens: in the shape of `gold`; needed for `surface_f1` only.

    Returns:
        `accuracy`, `macro_f1` over the labels (O too); `accuracy_known` and `accuracy_unknown` where there are such
        tokens; for BIO labels `entity_f1`, `entity_precision`, `entity_recall` and, with tokens, `surface_f1`.
    """
    right = [g == p for row, guess in zip(gold, predicted, strict=True) for g, p in zip(row, guess, strict=True)]
    assert right, "no tokens to score"
    is_known = np.fromiter(chain.from_iterable(known), dtype=bool)
    is_right = np.array(right)
    flat_gold, flat_predicted = list(chain.from_iterable(gold)), list(chain.from_iterable(predicted))
    scores = {"accuracy": float(is_right.mean()), "macro_f1": _macro_f1(flat_gold, flat_predicted)}
    for name, chosen in {"accuracy_known": is_known, "accuracy_unknown": ~is_known}.items():
        if chosen.any():
            scores[name] = float(is_right[chosen].mean())
    if is_bio(chain(flat_gold, flat_predicted)):
        scores |= _entity_scores(gold, predicted, tokens)
    return scores


def classification_scores(gold: list[str], predicted: list[str]) -> dict[str, float]:
    """Score a label per sequence: `accuracy`, and `macro_f1` over the labels that occur in gold or predicted."""
    right = [g == p for g, p in zip(gold, predicted, strict=True)]
    assert right, "no sequences to score"
    return {"accuracy": sum(right) / len(right), "macro_f1": _macro_f1(gold, predicted)}


def label_table(gold: list[str], predicted: list[str]) -> list[LabelRow]:
    """Score each label that occurs in gold or predicted, in label order; a label never predicted has precision 0."""
    from sklearn.metrics import precision_recall_fscore_support

    labels = sorted({*gold, *predicted})
    columns = precision_recall_fscore_support(gold, predicted, labels=labels, average=None, zero_division=0)
    return [
        LabelRow(label=label, precision=float(precision), recall=float(recall), f1=float(f1), support=int(support))
        for label, precision, recall, f1, support in zip(labels, *columns, strict=True)
    ]


def confusion(gold: list[str], predicted: list[str], labels: list[str]) -> NDArray[np.int64]:
    """Count (L, L) pairs in the order of `labels`, which must hold every label: gold in rows, predicted in columns."""
    number = {label: index for index, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(table, ([number[label] for label in gold], [number[label] for label in predicted]), 1)
    return table


def most_frequent_tag_floor(
    train_tokens: list[list[str]], train_labels: list[list[str]], test_tokens: list[list[str]]
) -> list[list[str]]:
    """Tag every word form, case kept, with its most frequent tag in train: the floor of Charniak et al. (1993).

    A word not in train gets the most frequent tag of the words seen once, whose tags are more like those of unknown
    words than the overall counts, full of function words, are (Baayen and Sproat, 1996). Without words seen once, the
    overall most frequent tag. Ties go to the label first in sorted order.

    Returns:
        Labels in the shape of `test_tokens`.
    """
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for words, labels in zip(train_tokens, train_labels, strict=True):
        for word, label in zip(words, labels, strict=True):
            counts[word][label] += 1
    once: Counter[str] = Counter(chain.from_iterable(tags for tags in counts.values() if tags.total() == 1))
    unknown_tag = _most_frequent(once or Counter(chain.from_iterable(train_labels)))
    tag_of = {word: _most_frequent(tags) for word, tags in counts.items()}
    return [[tag_of.get(word, unknown_tag) for word in words] for words in test_tokens]


def tfidf_floor(train_texts: list[str], train_labels: list[str], test_texts: list[str]) -> list[str]:
    """Classify by words and word pairs: TF-IDF with sublinear counts into a logistic regression, one label against rest.

    Texts are tokens joined by spaces, and every token counts, one letter or a comma; only case is dropped. One against
    rest, solved in the dual, scores as the multinomial one does in a tenth of its time, which grows with the labels.
    Where train has one label, or no token at all, its most frequent label is all there is to learn.

    Returns:
        A label per test text.
    """
    if len(set(train_labels)) == 1 or not any(text.split() for text in train_texts):
        return [_most_frequent(Counter(train_labels))] * len(test_texts)
    if not test_texts:
        return []
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline

    regression = LogisticRegression(C=30, solver="liblinear", dual=True, max_iter=1000, random_state=0)
    floor = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+"), OneVsRestClassifier(regression)
    )
    return [str(label) for label in floor.fit(train_texts, train_labels).predict(test_texts)]


def _macro_f1(gold: list[str], predicted: list[str]) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(gold, predicted, average="macro", zero_division=0))


def count_entities(gold: list[str], predicted: list[str]) -> tuple[int, int, int]:
    """Count a sentence's entities, as conlleval does: found rightly, found, in gold."""
    from seqeval.metrics.sequence_labeling import get_entities

    found, sought = set(get_entities(predicted)), set(get_entities(gold))
    return len(found & sought), len(found), len(sought)


def _entity_scores(gold: list[list[str]], predicted: list[list[str]], tokens: list[list[str]] | None) -> dict[str, float]:
    """Score entities as conlleval does: right are span and type; an I- without its B- begins an entity."""
    from seqeval.metrics.sequence_labeling import get_entities

    found: set[Entity] = set(get_entities(predicted))
    sought: set[Entity] = set(get_entities(gold))
    precision, recall, f1 = _precision_recall_f1(len(found & sought), len(found), len(sought))
    scores = {"entity_precision": precision, "entity_recall": recall, "entity_f1": f1}
    if tokens is not None:
        right, found_forms, sought_forms = (_surface_forms(each, tokens) for each in (found & sought, found, sought))
        scores["surface_f1"] = _precision_recall_f1(len(right), len(found_forms), len(sought_forms))[2]
    return scores


def _surface_forms(entities: set[Entity], tokens: list[list[str]]) -> set[tuple[str, ...]]:
    """Give the distinct types with their words, case kept: what WNUT-17's surface F1 counts (Derczynski et al., 2017).

    Its script, wnuteval.py, takes as right a form that was found rightly at one place at least.
    """
    words = [word for sentence in tokens for word in [*sentence, ""]]  # seqeval puts one O after each sentence
    return {(kind, *words[first : last + 1]) for kind, first, last in entities}


def _precision_recall_f1(num_right: int, num_found: int, num_sought: int) -> tuple[float, float, float]:
    precision, recall = num_right / max(num_found, 1), num_right / max(num_sought, 1)
    return precision, recall, 2 * num_right / max(num_found + num_sought, 1)


def _most_frequent(counts: Counter[str]) -> str:
    return min(counts, key=lambda label: (-counts[label], label))
