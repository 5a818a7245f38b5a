"""The registered model in an environment with its own requirements alone; variants: how it is asked.

`pyfunc` asks MLflow's model, as any user would; `onnx` and `int8` ask the labeler in it, without MLflow's checks of the input.
"""

import json
from pathlib import Path

from asking import Sentences, Tagger, answer, pieces


def load(model: str, variant: str, size: int) -> Tagger:
    import mlflow  # noqa: TID251

    asked = mlflow.pyfunc.load_model(model)
    if variant == "pyfunc":
        return lambda sentences: [labels for piece in pieces(sentences, size) for labels in _predict(asked, piece)]
    from pipeline.labeler import Labeler  # that of the model, which MLflow has put on the path

    labeler = Labeler.load(Path(model) / "artifacts" / "model", variant)  # type: ignore[arg-type]

    def label(sentences: Sentences) -> Sentences:
        return [found["labels"] for piece in pieces(sentences, size) for found in labeler.label_words(piece)]

    return label


def _predict(asked, sentences: Sentences) -> Sentences:
    found = asked.predict([json.dumps(words, ensure_ascii=False) for words in sentences], params={"tokens": True})
    return [row["labels"] for row in found]


if __name__ == "__main__":
    answer(load)
