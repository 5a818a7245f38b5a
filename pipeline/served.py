"""The registered model as MLflow runs it: texts in, labels out. MLflow loads this very file ("model from code")."""

from pathlib import Path

import mlflow
from mlflow.pyfunc import PythonModel, PythonModelContext

from pipeline.labeler import Labeler


class ServedModel(PythonModel):
    """Labels raw texts.

    A tagger answers each text with its `words`, their `labels` and `probabilities`; a classifier with one `label` and
    its `probability`.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Read the model folder, checking its manifest."""
        self._labeler = Labeler.load(Path(context.artifacts["model"]))

    def predict(self, model_input: list[str]):  # type: ignore[no-untyped-def]  # noqa: ANN201
        """Label texts, in their order. No type is given for the answer: MLflow then reads the signature off an example."""
        return self._labeler.label_texts(model_input)


mlflow.models.set_model(ServedModel())
