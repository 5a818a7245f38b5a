"""A wrong sweep is told before anything starts: each mistake at its key, with how to mend it."""

import pytest
from test_checks import problems

from pipeline.errors import ParamsError
from pipeline.params import load_config

MISTAKES = [
    ("pipeline: yours", "sweep.pipeline is 'yours', which is no pipeline"),
    ("trials: 0", "sweep.trials is 0"),
    ("epochs: 0", "sweep.epochs is 0"),
    ("epochs: two", "sweep.epochs is 'two'"),
    ("searcher: best", "sweep.searcher is 'best'"),
    ("stopper: soon", "sweep.stopper is 'soon'"),
    ("reduction: 1", "sweep.reduction is 1"),
    ("seed: -1", "sweep.seed is -1"),
    ("max_failures: -1", "sweep.max_failures is -1"),
    ("seeds: 1", "sweep.seeds is 1, and one seed shows no luck"),
    ("seeds: 0, finalists: 2", "sweep.finalists would do nothing here"),
    ("finalists: 0", "sweep.finalists is 0"),
    ("workers_per_trial: 0", "sweep.workers_per_trial is 0"),
    ("trails: 3", "sweep.trails is not a key here; did you mean trials?"),
    ("grace_epochs: 9", "sweep.grace_epochs is 9, but a trial has 6 epochs"),
    ("stopper: none, grace_epochs: 1", "sweep.grace_epochs would do nothing here"),
    ("stopper: median, reduction: 2", "sweep.reduction would do nothing here"),
    ("space: {}", "sweep.space is empty"),
    ("space: {layers: [0]}", "sweep.space.layers.0 is 0"),
    ("space: {units: [8, 8]}", "sweep.space.units has 8 twice"),
    ("space: {encode: {min_count: [1, 2]}}", "sweep.space.encode is not a key here"),
    ("space: {model: {cel: [gru]}}", "sweep.space.model.cel is no key of a pipeline's model; did you mean cell?"),
    ("space: {model: {cell: gru}}", "sweep.space.model.cell is 'gru'; fix: give a list of values, or a range"),
    ("space: {model: {cell: []}}", "sweep.space.model.cell is an empty list"),
    ("space: {model: {cell: [gru, gru]}}", 'sweep.space.model.cell has "gru" twice'),
    ("space: {model: {cell: [transformer]}}", "sweep.space.model.cell has the value 'transformer'"),
    ("space: {model: {cell: {min: 1, max: 2}}}", "sweep.space.model.cell is no number, so it has no range"),
    ("space: {model: {hidden: [[8], [0]]}}", "sweep.space.model.hidden has the value [0]"),
    ("space: {layers: [1], model: {hidden: [[8]]}}", "sweep.space.model.hidden is what layers and units make"),
    ("space: {model: {dropout: [0.1, 1.0]}}", "sweep.space.model.dropout has the value 1.0"),
    ("space: {model: {pooling: [max]}}", "sweep.space.model.pooling would do nothing with any choice"),
    ("space: {model: {reset_after: [true, false]}}", "sweep.space.model.reset_after would do nothing with any choice"),
    ("space: {model: {features: [{colour: 4}]}}", "sweep.space.model.features.colour names no further column"),
    ("space: {model: {residual: [true], hidden: [[8, 8], [8, 4]]}}", "sweep.space.model.residual adds what is of equal width"),
    ("space: {model: {word_size: [0, 9], char_hidden: [0, 9]}}", "sweep.space.model.word_size and char_hidden are both 0"),
    ("space: {train: {epochs: [1, 2]}}", "sweep.space.train.epochs is what sweep.epochs says"),
    ("space: {train: {monitor: [loss]}}", "sweep.space.train.monitor decides what trials are compared by"),
    ("space: {train: {checkpoint_steps: [5]}}", "sweep.space.train.checkpoint_steps changes no score"),
    ("space: {train: {lr: {min: 1e-3}}}", "fix: write a range as {min: ..., max: ...}"),
    ("space: {train: {lr: {min: 1e-2, max: 1e-3}}}", "sweep.space.train.lr goes from 0.01 to 0.001"),
    ("space: {train: {lr: {min: 0, max: 1e-3}}}", "sweep.space.train.lr has the end 0"),
    ("space: {train: {lr: {min: null, max: 1}}}", "sweep.space.train.lr has the end None; it is no number"),
    ("space: {train: {lr: {min: [1], max: 1}}}", "sweep.space.train.lr has the end [1]"),
    (
        "space: {train: {weight_decay: {min: 0, max: 1, log: true}}}",
        "sweep.space.train.weight_decay goes from 0, which has no log",
    ),
    ("searcher: grid, space: {train: {lr: {min: 1e-3, max: 1e-2}}}", "which has no end of values for searcher: grid"),
]


@pytest.mark.parametrize(("text", "says"), MISTAKES, ids=[text for text, _ in MISTAKES])
def test_a_mistake_is_told_with_its_line(tmp_path, text, says):
    defaults = {"pipeline": "pipeline: mine", "space": "space: {units: [8]}"}
    parts = [text, *(part for key, part in defaults.items() if f"{key}:" not in text)]
    found = problems(tmp_path, "tags", sweep=f"sweep: {{{', '.join(parts)}}}")
    told = [problem for problem in found if problem.startswith("params.yaml:10:") and says in problem]
    assert told and all("fix:" in problem or "did you mean" in problem for problem in told), found


def test_all_mistakes_are_told_at_once(tmp_path):
    sweep = "sweep: {pipeline: mine, space: {model: {cell: gru, dropout: [2]}, train: {epochs: [1]}}}"
    assert len(problems(tmp_path, "tags", sweep=sweep)) == 3


@pytest.mark.parametrize(
    ("corpus", "space"),
    [
        ("tags", "layers: [1, 2], units: [8], model: {residual: [true, false], crf: [true, false], bio: [true, false]}"),
        ("tags", "model: {cell: [lstm, gru, simple_rnn], reset_after: [true, false], activation: [relu, tanh]}"),
        ("tags", "model: {features: [{}, {capitalisation: 5, xpos: 3}], word_size: {min: 10, max: 100}}"),
        ("texts", "model: {pooling: [max, final], dense: [0, 9]}, train: {lr: {min: 1e-4, max: 1e-2, log: true}, seed: [1, 2]}"),
        ("series", "model: {bidirectional: [true, false], merge: [sum, concat], bptt_steps: [null, 9]}"),
    ],
)
def test_what_can_be_searched_is_taken(tmp_path, corpus, space):
    assert problems(tmp_path, corpus, sweep=f"sweep: {{pipeline: mine, space: {{{space}}}}}") == []


def test_the_command_is_told_too_where_it_names_another_pipeline(tmp_path, monkeypatch):
    from pipeline.tool_commands import sweep

    problems(
        tmp_path,
        "tags",
        sweep="  yours: {corpus: texts, vectors: null, split: {}, encode: {}, model: {}, train: {}, register: {}}\n"
        "sweep: {pipeline: mine, space: {model: {crf: [true, false]}}}",
    )
    monkeypatch.chdir(tmp_path)
    load_config()
    with pytest.raises(ParamsError, match=r"sweep.space.model.crf would do nothing"):
        sweep("yours")
