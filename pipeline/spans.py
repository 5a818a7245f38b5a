"""Entities in BIO labels, counted over a batch with arrays: the sums that entity F1 is made of.

An entity begins at B, or at an I whose type is not that of the entity before it, as the CoNLL shared tasks count.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class BioLabels:
    """What each label id means: (L,) whether it is inside an entity, whether it begins one, and the number of its type."""

    is_inside: NDArray[np.bool_]
    is_begin: NDArray[np.bool_]
    kind: Ids

    @classmethod
    def of(cls, labels: tuple[str, ...]) -> "BioLabels | None":
        """Read label names; None where they are not O, B-type and I-type."""
        if "O" not in labels or not all(label == "O" or label[:2] in ("B-", "I-") for label in labels):
            return None
        kinds = sorted({label[2:] for label in labels})
        return cls(
            is_inside=np.array([label != "O" for label in labels]),
            is_begin=np.array([label[:2] == "B-" for label in labels]),
            kind=np.array([kinds.index(label[2:]) for label in labels]),
        )

    def count(self, gold: Ids, predicted: Ids, is_real: NDArray[np.bool_]) -> tuple[int, int, int]:
        """Count entities in a batch.

        Args:
            gold: (B, T) label ids; anything at padding.
            predicted: (B, T) label ids.
            is_real: (B, T).

        Returns:
            Entities found rightly, entities predicted, entities in gold.
        """
        gold_start, gold_end, gold_kind = self._spans(gold, is_real)
        start, end, kind = self._spans(predicted, is_real)
        right = gold_start & start & (gold_end == end) & (gold_kind == kind)
        return int(right.sum()), int(start.sum()), int(gold_start.sum())

    def has_stray_inside(self, labels: NDArray[np.int32], offsets: Ids) -> bool:
        """Say whether any I follows anything but B or I of its type, in sequences (all steps,) that begin at `offsets`."""
        goes_on = self.is_inside[labels] & ~self.is_begin[labels]
        follows = np.zeros(len(labels), bool)
        follows[1:] = self.is_inside[labels[:-1]] & (self.kind[labels[1:]] == self.kind[labels[:-1]])
        follows[offsets[:-1]] = False
        return bool((goes_on & ~follows).any())

    def _spans(self, ids: Ids, is_real: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], Ids, Ids]:
        """Give (B, T): where entities start, the column at which the running one ends, and its type."""
        is_known = is_real & (ids >= 0)
        ids = np.where(is_known, ids, 0)
        inside = self.is_inside[ids] & is_known
        kind = np.where(inside, self.kind[ids], -1)
        goes_on = inside & ~self.is_begin[ids]
        goes_on[:, 0] = False
        goes_on[:, 1:] &= kind[:, 1:] == kind[:, :-1]
        start = inside & ~goes_on
        is_last = inside.copy()
        is_last[:, :-1] &= ~goes_on[:, 1:]
        columns = np.where(is_last, np.arange(ids.shape[1]), ids.shape[1])
        end = np.minimum.accumulate(columns[:, ::-1], axis=1)[:, ::-1]
        return start, end, kind
