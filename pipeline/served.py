"""The registered model as MLflow runs it: texts in, labels out, without torch. MLflow loads this very file ("model from code").

With it goes what it imports, `CODE`, and no more of this project.
"""

import json
import os
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext

from pipeline.errors import DataError
from pipeline.labeler import Labeler

LIKELY = ("probabilities", "probability")
LIMIT = "UNROLL_REQUEST_CHARACTERS"
"""Names the most characters of one request, where a server is to have a limit: one that takes too long answers nobody."""


class ServedModel(PythonModel):
    """Labels texts.

    A tagger answers each text with its `words` and their `labels`; a classifier with one `label`. Two params may be given:
    `probabilities: true` adds how likely each label is; `tokens: true` takes each text for a JSON list of words, which are then
    labelled one by one.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Read the model folder, checking its manifest."""
        self._labeler = Labeler.load(Path(context.artifacts["model"]))

    def predict(self, model_input: list[str], params=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """Label texts, in their order. No type is given for the answer: MLflow then reads the signature off an example."""
        asked = params or {}
        try:
            _limit(model_input)
            answers = self._label_words(model_input) if asked.get("tokens") else self._labeler.label_texts(model_input)
        except DataError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        left_out = () if asked.get("probabilities") else LIKELY
        return [{key: value for key, value in answer.items() if key not in left_out} for answer in answers]

    def _label_words(self, texts: list[str]) -> list[dict[str, Any]]:
        return self._labeler.label_words([_words(text, f"text {i}") for i, text in enumerate(texts, start=1)])


def _limit(texts: list[str]) -> None:
    most, size = int(os.environ.get(LIMIT, 0)), sum(map(len, texts))
    if 0 < most < size:
        raise DataError(f"the request has {size:,} characters; {most:,} are allowed; fix: send fewer or shorter texts")


def _words(text: str, name: str) -> list[str]:
    try:
        words = json.loads(text)
    except ValueError:
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) and word.strip() for word in words):
        raise DataError(f"{name} is no JSON list of words; with tokens: true nothing else is read; fix: mend it")
    return words


mlflow.models.set_model(ServedModel())
