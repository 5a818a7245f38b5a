"""A sweep's space: what is drawn, in which order, and what a sample makes of a pipeline."""

from dataclasses import replace

import pytest

from models.config import ModelConfig
from pipeline.config import (
    CorpusConfig,
    EncodeConfig,
    PathSource,
    PipelineConfig,
    RegisterConfig,
    SplitConfig,
    SweepConfig,
    SweepSpace,
    TrainConfig,
)
from pipeline.space import Interval, Space
from pipeline.study import Study
from pipeline.trials import Ledger, Trial

CORPUS = CorpusConfig("tagging", "conllu", "en", "ours", PathSource("path", "own"), {"all": "c"})
PIPELINE = PipelineConfig("own", None, SplitConfig(), EncodeConfig(), ModelConfig(), TrainConfig(), RegisterConfig())
CELLS = {"reset_after": [True, False], "cell": ["lstm", "gru"]}
LR = {"lr": {"min": 1e-4, "max": 1e-2, "log": True}}


def space(pipeline=PIPELINE, **written):
    return Space.of(SweepSpace(**written), pipeline, CORPUS)


def test_an_option_is_chosen_only_beside_what_it_is_for():
    assert list(space(model=CELLS).grid()) == [
        {"model.cell": "lstm"},
        {"model.cell": "gru", "model.reset_after": True},
        {"model.cell": "gru", "model.reset_after": False},
    ]


def test_smoothing_is_not_chosen_beside_a_crf_nor_kept():
    own = space(replace(PIPELINE, train=TrainConfig(label_smoothing=0.3)), model={"crf": [True, False]})
    assert [own.apply(chosen).train.label_smoothing for chosen in own.grid()] == [0.0, 0.3]
    both = space(model={"crf": [True, False]}, train={"label_smoothing": [0.1]})
    assert [list(chosen) for chosen in both.grid()] == [["model.crf"], ["model.crf", "train.label_smoothing"]]


def test_layers_and_units_make_the_widths():
    own = space(layers=(1, 2), units=(8,))
    assert [own.apply(chosen).model.hidden for chosen in own.grid()] == [(8,), (8, 8)]
    assert space(layers=(3,)).apply({"layers": 3}).model.hidden == (200, 200, 200)


def test_options_of_the_pipeline_that_would_do_nothing_are_left_out():
    own = space(replace(PIPELINE, model=ModelConfig(cell="lstm", forget_bias=2.0)), model={"cell": ["gru"]})
    assert own.apply({"model.cell": "gru"}).model == ModelConfig(cell="gru")


def test_a_range_of_whole_numbers_is_known_by_its_key():
    choices = space(model={"word_size": {"min": 10, "max": 90}, "dropout": {"min": 0.1, "max": 0.5}}).choices
    assert choices == {
        "model.word_size": Interval(10, 90, is_log=False, is_whole=True),
        "model.dropout": Interval(0.1, 0.5, is_log=False, is_whole=False),
    }


def config(**changes):
    return SweepConfig("own", **{"stopper": "none", **changes})


@pytest.mark.parametrize("searcher", ["tpe", "random", "grid"])
def test_no_sample_is_tried_twice_and_a_space_has_an_end(searcher):
    study = Study(space(layers=(1, 2), model=CELLS), config(searcher=searcher), [])
    tried = [study.ask(number) for number in range(1, 8)]
    assert tried[6] is None and len({str(chosen) for chosen in tried[:6]}) == 6


@pytest.mark.parametrize("searcher", ["tpe", "random", "grid"])
def test_a_search_that_is_taken_up_asks_for_what_the_unbroken_one_did(tmp_path, searcher):
    own = space(layers=(1, 2), model=CELLS, train=LR if searcher != "grid" else {})
    settings = config(searcher=searcher, stopper="asha", epochs=3, grace_epochs=1)
    unbroken = Study(own, settings, [])
    asked = []
    for number in range(1, 7):
        broken = Study(own, settings, Ledger(tmp_path).trials.values())
        asked.append(unbroken.ask(number))
        assert broken.ask(number) == asked[-1]
        trial = Trial(number, asked[-1], state="finished")
        for epoch in (1, 2, 3):
            score = trial.scores[epoch] = 1 / (number + epoch)
            stops = unbroken.must_stop(number, epoch, score)
            assert broken.must_stop(number, epoch, score) == stops
            if stops:
                trial.state = "stopped early"
                break
        unbroken.end(trial)
        Ledger(tmp_path).keep(trial)
    states = {trial.state for trial in Ledger(tmp_path).trials.values()}
    assert states == {"finished", "stopped early"}


def test_a_trial_that_was_under_way_goes_on_with_its_sample_and_scores():
    own = space(model=CELLS, train=LR)
    first = Study(own, config(), [])
    begun = Trial(1, first.ask(1), scores={1: 0.5})
    second = Study(own, config(), [])
    second.take_up(begun)
    assert second.ask(2) != begun.chosen
    begun.state = "finished"
    second.end(begun)


def test_a_number_of_a_range_is_one_that_a_person_would_write():
    study = Study(space(train=LR), config(searcher="random"), [])
    drawn = [study.ask(number)["train.lr"] for number in range(1, 20)]
    assert all(1e-4 <= value <= 1e-2 and float(f"{value:.3g}") == value for value in drawn)
