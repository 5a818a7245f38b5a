"""Diagrams: well-formed for every config, nothing over anything else, and each edge where the network has it."""

import re
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

import pytest

from models.config import ModelConfig, Setting, Task, find_clashes, find_idle
from pipeline.diagram import STEPS, draw

SVG = "{http://www.w3.org/2000/svg}"
ONE_WAY: dict[str, Any] = {"bidirectional": False}

CASES: dict[str, tuple[ModelConfig, Task, bool]] = {
    "plain classifier": (ModelConfig(**ONE_WAY, char_hidden=0), "classification", False),
    "tagger with characters": (ModelConfig(), "tagging", False),
    "deep tagger": (
        ModelConfig(
            cell="gru",
            hidden=(128, 128, 128),
            residual=True,
            layer_norm=True,
            crf=True,
            bio=True,
            features={"capitalisation": 5},
            heads={"chunk": 0.5},
        ),
        "tagging",
        False,
    ),
    "four layers": (ModelConfig(hidden=(90, 80, 70, 60), merge="sum", layer_norm=True, bptt_steps=9), "tagging", False),
    "numbers": (ModelConfig(cell="gru", reset_after=False, pooling="attention", dense=32), "classification", True),
    "backwards": (ModelConfig(**ONE_WAY, cell="simple_rnn", activation="relu", go_backwards=True), "tagging", False),
    "learned state": (
        ModelConfig(**ONE_WAY, hidden=(8, 9), learned_state=True, bptt_steps=35, recurrent_dropout=0.2),
        "tagging",
        False,
    ),
    "residual final": (ModelConfig(hidden=(50, 50), residual=True, dense=9, learned_state=True), "classification", False),
    "residual backwards": (
        ModelConfig(**ONE_WAY, go_backwards=True, hidden=(50, 50), residual=True),
        "classification",
        False,
    ),
    "many names": (
        ModelConfig(
            features={f"a long feature's name {index}": 5 for index in range(7)},
            heads={f"target {index}": 1.0 for index in range(9)},
            char_encoder="cnn",
            pooling="max",
            dropout=0.0,
            input_dropout=0.0,
        ),
        "classification",
        False,
    ),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def parse(case: tuple[ModelConfig, Task, bool]) -> ElementTree.Element:
    config, task, is_numeric = case
    return ElementTree.fromstring(draw(config, task, is_numeric=is_numeric))


def parse_tagger(**options: Any) -> ElementTree.Element:
    return parse((ModelConfig(**options), "tagging", False))


def parts(svg: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [element for element in svg.iter() if element.get("data-part") == name]


def edges_of(rect: ElementTree.Element) -> tuple[float, float, float, float]:
    """Left, top, right, bottom."""
    x, y, width, height = (float(rect.get(key, "")) for key in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def top_middle(rect: ElementTree.Element) -> tuple[float, float]:
    left, top, right, _ = edges_of(rect)
    return (left + right) / 2, top


def starts_of(paths: list[ElementTree.Element]) -> set[tuple[float, float]]:
    found = (re.match(r"M(\S+) (\S+)", path.get("d", "")) for path in paths)
    return {(float(match[1]), float(match[2])) for match in found if match}


def words_of(svg: ElementTree.Element) -> list[str]:
    return ["".join(text.itertext()) for text in svg.iter(f"{SVG}text")]


def final_starts(svg: ElementTree.Element) -> set[tuple[float, float]]:
    """Tops of the cells that a final edge leaves from."""
    return starts_of(parts(svg, "final")) & {top_middle(cell) for cell in parts(svg, "cell")}


def uppermost(svg: ElementTree.Element, colour: str) -> list[ElementTree.Element]:
    """The cells of a colour's uppermost row, from left to right."""
    cells = [cell for cell in parts(svg, "cell") if cell.get("stroke") == colour]
    top = min(edges_of(cell)[1] for cell in cells)
    return sorted((cell for cell in cells if edges_of(cell)[1] == top), key=edges_of)


def colour_of(svg: ElementTree.Element, direction: str) -> str:
    return parts(svg, direction)[0].get("stroke", "")


@every_case
def test_the_cases_are_configs_that_a_user_may_have(case: tuple[ModelConfig, Task, bool]) -> None:
    config, task, is_numeric = case
    setting = Setting(task, is_numeric, sequence_targets=tuple(config.heads))
    assert not [*find_idle(config, setting), *find_clashes(config, setting)]


@every_case
def test_every_config_gives_well_formed_xml_with_a_title_and_a_description(case: tuple[ModelConfig, Task, bool]) -> None:
    svg = parse(case)
    assert [child.tag for child in svg][:2] == [f"{SVG}title", f"{SVG}desc"] and svg[0].text and svg[1].text


@every_case
def test_there_is_a_cell_for_each_layer_direction_and_drawn_step(case: tuple[ModelConfig, Task, bool]) -> None:
    config = case[0]
    assert len(parts(parse(case), "cell")) == len(config.hidden) * (1 + config.bidirectional) * len(STEPS)


@every_case
def test_no_two_boxes_overlap(case: tuple[ModelConfig, Task, bool]) -> None:
    boxes = [edges_of(rect) for rect in parse(case).iter(f"{SVG}rect") if rect.get("data-part") != "background"]
    clashes = [
        (one, other)
        for one, other in combinations(boxes, 2)
        if one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
    ]
    assert not clashes


@every_case
def test_every_box_lies_on_the_white_background_which_fills_the_view(case: tuple[ModelConfig, Task, bool]) -> None:
    svg = parse(case)
    (background,) = parts(svg, "background")
    left, top, right, bottom = edges_of(background)
    view = [float(number) for number in svg.get("viewBox", "").split()]
    assert view == [left, top, right - left, bottom - top]
    for box in map(edges_of, svg.iter(f"{SVG}rect")):
        assert left <= box[0] and top <= box[1] and box[2] <= right and box[3] <= bottom


@every_case
def test_nothing_outside_is_referred_to_and_no_id_is_taken(case: tuple[ModelConfig, Task, bool]) -> None:
    names = {name for element in parse(case).iter() for name in element.attrib}
    assert not [name for name in names if name == "id" or name.endswith("href") or name == "style"]


@every_case
def test_the_same_config_gives_the_same_picture(case: tuple[ModelConfig, Task, bool]) -> None:
    assert draw(case[0], case[1], is_numeric=case[2]) == draw(case[0], case[1], is_numeric=case[2])


@pytest.mark.parametrize(
    ("options", "ways"),
    [
        ({}, {"forward", "backward"}),
        (ONE_WAY, {"forward"}),
        ({**ONE_WAY, "go_backwards": True}, {"backward"}),
    ],
)
def test_arrows_go_only_the_ways_that_the_network_reads(options: dict[str, Any], ways: set[str]) -> None:
    svg = parse_tagger(**options)
    assert {way for way in ("forward", "backward") if parts(svg, way)} == ways


def test_backward_arrows_point_left_and_forward_ones_right() -> None:
    svg = parse_tagger()
    for way, sign in (("forward", 1), ("backward", -1)):
        for path in parts(svg, way):
            begin, end = re.findall(r"[MH](-?[\d.]+)", path.get("d", ""))
            assert (float(end) - float(begin)) * sign > 0


@pytest.mark.parametrize("residual", [False, True])
def test_final_takes_the_last_forward_and_the_first_backward_cell(residual: bool) -> None:
    svg = parse((ModelConfig(hidden=(50, 50), residual=residual), "classification", False))
    ahead, back = (uppermost(svg, colour_of(svg, way)) for way in ("forward", "backward"))
    assert final_starts(svg) == {top_middle(ahead[-1]), top_middle(back[0])}


@pytest.mark.parametrize(("go_backwards", "index"), [(False, -1), (True, 0)])
def test_final_of_one_direction_takes_the_cell_that_it_reads_last(go_backwards: bool, index: int) -> None:
    svg = parse((ModelConfig(**ONE_WAY, go_backwards=go_backwards), "classification", False))
    cells = sorted(parts(svg, "cell"), key=edges_of)
    assert final_starts(svg) == {top_middle(cells[index])}


@pytest.mark.parametrize("pooling", ["max", "mean", "attention"])
def test_other_poolings_take_every_step_and_no_final_state(pooling: Any) -> None:
    svg = parse((ModelConfig(pooling=pooling), "classification", False))
    assert len(starts_of(parts(svg, "pooled"))) == len(STEPS) and not parts(svg, "final")


@pytest.mark.parametrize("crf", [False, True])
def test_labels_are_linked_only_with_a_crf(crf: bool) -> None:
    svg = parse_tagger(crf=crf)
    assert bool(parts(svg, "crf")) == crf and ("CRF" in words_of(svg)) == crf


def test_outputs_merge_at_every_step_by_the_mode_that_is_named() -> None:
    svg = parse_tagger(merge="ave")
    assert len(parts(svg, "merge")) == len(STEPS) == words_of(svg).count("ave")


def test_each_layer_above_the_first_has_a_skip_at_every_step() -> None:
    assert len(parts(parse_tagger(hidden=(8, 8, 8), residual=True), "skip")) == 2 * len(STEPS)


@pytest.mark.parametrize(("learned", "word"), [(False, "0"), (True, "h0")])
def test_the_state_before_the_first_step_is_zero_or_learned(learned: bool, word: str) -> None:
    assert [text for text in words_of(parse_tagger(learned_state=learned)) if text in ("0", "h0")] == [word, word]


def test_a_rate_is_named_once_between_layers_and_not_where_it_is_zero() -> None:
    words = words_of(parse_tagger(hidden=(8, 8), input_dropout=0.0, dropout=0.3))
    assert [word for word in words if "dropout" in word] == ["dropout 0.3", "dropout 0.3"]


@pytest.mark.parametrize("steps", [None, 35])
def test_the_gradient_is_cut_only_with_bptt_steps(steps: int | None) -> None:
    svg = parse_tagger(bptt_steps=steps)
    assert bool(parts(svg, "cut")) == bool(steps) == ("every 35 steps" in words_of(svg))


@pytest.mark.parametrize(
    ("options", "label"),
    [
        ({"cell": "lstm"}, "LSTM 200"),
        ({"cell": "gru"}, "GRU 200"),
        ({"cell": "gru", "reset_after": False}, "GRU (reset before)"),
        ({"cell": "simple_rnn"}, "RNN 200"),
        ({"cell": "simple_rnn", "activation": "relu"}, "RNN relu 200"),
    ],
)
def test_cells_are_labelled_as_they_are_named(options: dict[str, Any], label: str) -> None:
    assert words_of(parse_tagger(**options)).count(label) == 2 * len(STEPS)


@pytest.mark.parametrize(
    ("options", "label"),
    [({}, "characters BiLSTM 25"), ({"char_encoder": "cnn", "char_hidden": 30}, "characters CNN 30")],
)
def test_the_character_network_is_named_by_its_encoder(options: dict[str, Any], label: str) -> None:
    assert label in words_of(parse_tagger(**options))


@pytest.mark.parametrize("name", ["<b>&\"'", "]]>", "a\x00b\x0b", "\ufffe", "<script>"])
def test_names_of_users_are_text_and_never_markup(name: str) -> None:
    svg = parse_tagger(features={name: 5}, heads={name: 1.0})
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
    assert {f"{shown} 5", shown} <= set(words_of(svg))


def test_a_name_too_long_for_its_box_is_whole_in_the_description() -> None:
    name = "a name that no box has room for"
    svg = parse_tagger(features={name: 5})
    assert name in (svg[1].text or "") and not [word for word in words_of(svg) if name in word]
