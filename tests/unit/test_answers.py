"""A piece labelled: its bytes do not depend on what the process did before."""

import dataclasses
from io import BytesIO

import numpy as np
import polars as pl
from making import SMALL
from test_files import make_model

from pipeline.answers import label_piece
from pipeline.inputs import Piece, Place
from pipeline.labeler import Labeler
from pipeline.tasks import Job, Task


def draw_texts(num_texts):
    """Draw words of a few thousand forms, many of them in several texts."""
    rng = np.random.default_rng(1)
    forms = ["".join(rng.choice(list("umdoistrêQacn"), rng.integers(1, 14))) for _ in range(3000)]
    return [" ".join(rng.choice(forms, 20)) for _ in range(num_texts)]


def test_a_piece_is_labelled_to_the_last_digit_as_if_it_were_the_first(tmp_path):
    model = make_model(tmp_path, model=dataclasses.replace(SMALL, char_hidden=50, char_size=25, hidden=(40,)))
    texts = draw_texts(1000)
    pieces = [Piece(tmp_path / "in.txt", Place(), Place(), "\n".join(part).encode()) for part in (texts[:500], texts[500:])]
    task = Task(model, "auto", "text", "parquet")
    _, second = (label_piece(Job(piece, task)).data for piece in pieces)
    answers = Labeler.load(model).label_texts(texts[500:])
    expected = pl.Series([answer["probabilities"] for answer in answers], dtype=pl.List(pl.Float32))
    assert pl.read_parquet(BytesIO(second))["probabilities"].equals(expected)
