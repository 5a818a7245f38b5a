"""Files, params and clusters: the stages and commands that turn a labelled corpus into a registered model."""
