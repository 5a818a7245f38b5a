"""The network of a config, unrolled over time, as an SVG: for reports and docs.

Time runs from left to right, computing from bottom to top. It needs the config alone: no torch, data, file or font.
Elements are named by `data-part` and none has an id, so that several pictures can stand in one page.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise

from models.config import ModelConfig, Task
from pipeline.shapes import (
    GREY,
    INK,
    ROUND,
    Box,
    Fill,
    Pen,
    draw_box,
    draw_circle,
    draw_disc,
    draw_dots,
    draw_rise,
    draw_route,
    draw_text,
    escape_text,
)

STEPS = ("1", "2", "T")
"""The steps that are drawn; dots between the last two stand for all others."""

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_DISC, _PLUS, _DOTS = 14.0, 9.0, 18.0  # radii, and half of what the dots take
_ENTRY, _ROW_PITCH = 66.0, 64.0  # below a layer: its dropout, norm and fork; between its two directions
_LANE, _STATE_GAP, _BUS = 36.0, 46.0, 90.0  # from a step: to either cell, to the lines around its inputs; from cell to state
_GUTTER, _MARGIN = 124.0, 22.0

_CELLS = {"simple_rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}
_ENCODERS = {"lstm": "BiLSTM", "gru": "BiGRU", "cnn": "CNN"}
_POOLINGS = {"max": "max over time", "mean": "mean over time", "attention": "attention over time"}


_PAPER, _TINTED, _BAR, _SOLID = Fill(), Fill("#f1f3f5"), Fill("#cbd2d9"), Fill(INK, INK, "#ffffff")


@dataclass(frozen=True)
class _Row:
    """The cells of one direction, which `sign` tells: 1 is left to right; `shift` is from a step's middle to its cell."""

    name: str
    sign: int
    fill: Fill
    shift: float
    y: float

    def cell(self, step: float) -> Box:
        return Box(step + self.shift, self.y)


_FORWARD, _BACKWARD = ("forward", 1, Fill("#e3eefa", "#1f5f9e")), ("backward", -1, Fill("#fdeee1", "#b3540e"))


@dataclass(frozen=True)
class _Layer:
    """A recurrent layer's heights: from `floor`, the top of what it reads, to its own `top`."""

    name: str
    cell: tuple[str, ...]
    rate: float
    floor: float
    rows: tuple[_Row, ...]
    merge: float | None
    add: float | None
    top: float


@dataclass(frozen=True)
class _Plan:
    """All that is drawn, placed: `half` reaches from a step's middle to the outer edge of its cells."""

    config: ModelConfig
    task: Task
    inputs: tuple[str, ...]
    steps: tuple[float, ...]
    dots: float
    half: float
    layers: tuple[_Layer, ...] = ()

    @property
    def takes_ends(self) -> bool:
        return self.task == "classification" and self.config.pooling in (None, "final")

    @property
    def right(self) -> float:
        return self.steps[-1] + self.half + _STATE_GAP + _DISC


def draw(config: ModelConfig, task: Task, *, is_numeric: bool = False) -> str:
    """Draw a network.

    Args:
        is_numeric: its steps are vectors of numbers, not words.

    Returns:
        An SVG document that refers to nothing outside it.
    """
    plan = _plan(config, task, is_numeric)
    others = _place_others(plan)
    body = [*_inputs(plan), *chain(*(_layer(plan, layer) for layer in plan.layers)), *_cut(plan), *_head(plan)]
    body += _others(plan, others)
    top = min([_label_y(plan) - _DISC, *(box.top - 24 for box in others)]) - _MARGIN
    height = max([_DISC, *(box.bottom for box in others)]) + _MARGIN - top
    width = max([plan.right, *(box.right for box in others)]) + 2 * _MARGIN
    return f"""<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width:g}" height="{height:g}" \
viewBox="{-_MARGIN:g} {top:g} {width:g} {height:g}" font-family="{_FONT}" stroke-linecap="round" stroke-linejoin="round">
<title>{"Bi" * config.bidirectional}{_CELLS[config.cell]} for {task}, unrolled over time</title>
<desc>{escape_text(_description(plan))}</desc>
<rect data-part="background" x="{-_MARGIN:g}" y="{top:g}" width="{width:g}" height="{height:g}" fill="#ffffff"/>
{"".join(f"{part}{chr(10)}" for part in body)}</svg>
"""


def _plan(config: ModelConfig, task: Task, is_numeric: bool) -> _Plan:
    """Place everything; two directions get room beside each other, so that each has a straight way upwards."""
    lane, pitch, to_dots = (_LANE, 240.0, 170.0) if config.bidirectional else (0.0, 204.0, 138.0)
    half = Box(0, 0).right + lane
    first = _GUTTER + 10 + 2 * _DISC + _STATE_GAP + half
    steps = (first, first + pitch, first + pitch + 2 * to_dots)
    plan = _Plan(config, task, _name_inputs(config, is_numeric), steps, steps[1] + to_dots, half)
    floor = _joined(plan, 0).top
    for number in range(len(config.hidden)):
        plan = replace(plan, layers=(*plan.layers, _place_layer(plan, number, floor)))
        floor = plan.layers[-1].top
    return plan


def _place_layer(plan: _Plan, number: int, floor: float) -> _Layer:
    config, lowest = plan.config, floor - _ENTRY - 18
    rows: tuple[_Row, ...] = (_Row(*(_BACKWARD if config.go_backwards else _FORWARD), 0, lowest),)
    if config.bidirectional:
        rows = (_Row(*_FORWARD, -_LANE, lowest), _Row(*_BACKWARD, _LANE, lowest - _ROW_PITCH))
    top, merge, add = rows[-1].cell(0).top, None, None
    if config.bidirectional and not (plan.takes_ends and number == len(config.hidden) - 1):
        merge, top = top - 36, top - 47
    if config.residual and number:
        add, top = top - 26, top - 26 - _PLUS
    name = f"layer {number + 1}" if len(config.hidden) > 1 else "layer"
    rate = config.dropout if number else config.input_dropout
    return _Layer(name, _name_cell(config, config.hidden[number]), rate, floor, rows, merge, add, top)


def _name_inputs(config: ModelConfig, is_numeric: bool) -> tuple[str, ...]:
    if is_numeric:
        return (f"linear {config.word_size}",)
    chars = 25 if config.char_hidden is None else config.char_hidden
    names = [f"word {config.word_size}"] if config.word_size else []
    names += [f"characters {_ENCODERS[config.char_encoder or 'lstm']} {chars}"] if chars else []
    return (*names, *(f"{name} {size}" for name, size in config.features.items()))


def _name_cell(config: ModelConfig, units: int) -> tuple[str, ...]:
    if config.cell == "gru" and config.reset_after is False:
        return "GRU (reset before)", str(units)
    kind = " relu" if config.cell == "simple_rnn" and config.activation == "relu" else ""
    return (f"{_CELLS[config.cell]}{kind} {units}",)


def _name_head(plan: _Plan) -> list[str]:
    """Name the main head's boxes, from below."""
    config = plan.config
    if plan.task == "tagging":
        return ["scores" if config.crf else "softmax"]
    ends = f"final states: {config.merge or 'concat'}" if config.bidirectional else "final state"
    return [_POOLINGS.get(config.pooling or "final", ends), *([f"dense {config.dense}"] if config.dense else []), "softmax"]


def _description(plan: _Plan) -> str:
    """Say in words what the picture shows, with the names that it shortens."""
    ways = " and ".join(row.name for row in plan.layers[0].rows)
    head = [*_name_head(plan), *(["CRF"] if plan.task == "tagging" and plan.config.crf else []), *plan.config.heads]
    layers = "; ".join(" ".join(layer.cell) for layer in plan.layers)
    return f"Each step reads: {', '.join(plan.inputs)}. Layers from below, {ways}: {layers}. On top: {', '.join(head)}."


def _joined(plan: _Plan, step: float) -> Box:
    """Place what the first layer reads: the joined vector, or the only input."""
    number = len(plan.inputs)
    return Box(step, -60) if number == 1 else Box(step, -50.0 - 38 * number, height=28)


def _inputs(plan: _Plan) -> Iterator[str]:
    yield draw_dots(plan.dots, 0)
    for index, step in zip(STEPS, plan.steps, strict=True):
        joined = _joined(plan, step)
        if len(plan.inputs) == 1:
            yield draw_rise((step, -_DISC), (step, joined.bottom))
            yield draw_box(joined, _TINTED, "input", *plan.inputs)
        else:
            yield from _join(plan.inputs, joined)
        yield draw_disc((step, 0), _DISC, _PAPER, "x", index)
    yield _caption("input", 0, weight=600)


def _join(inputs: Sequence[str], joined: Box) -> Iterator[str]:
    """Draw a step's inputs above each other, between a line that brings the step and one that takes their vectors."""
    left, right = joined.x - _BUS, joined.x + _BUS
    boxes = [Box(joined.x, -48.0 - 38 * number, 150, 28) for number in range(len(inputs))]
    begins = [[(joined.x - _DISC, 0.0), (left, 0.0)], *([(left, box.y + ROUND)] for box in boxes)]
    ends = [*([(right, box.y - ROUND)] for box in boxes[1:]), [(right, joined.y), (joined.right, joined.y)]]
    for name, box, begin, end in zip(inputs, boxes, begins, ends, strict=False):
        yield draw_route([*begin, (left, box.y), (box.left, box.y)])
        yield draw_route([(box.right, box.y), (right, box.y), *end], has_tip=box is boxes[-1])
        yield draw_box(box, _TINTED, "input", name)
    yield draw_box(joined, _PAPER, "joined", "joined vector")


def _layer(plan: _Plan, layer: _Layer) -> Iterator[str]:
    """Draw a layer; what runs through time comes after what rises, which it crosses."""
    is_ended = plan.takes_ends and layer is plan.layers[-1]
    for step in plan.steps:
        yield from _entry(plan, layer, step)
        yield from () if is_ended else _exit(plan, layer, step)
    yield from _ends(plan, layer) if is_ended else ()
    aside = 0 if plan.config.bidirectional else 8
    for row in layer.rows:
        yield from _time(plan, row)
        yield from (draw_box(row.cell(step), row.fill, "cell", *layer.cell) for step in plan.steps)
        yield _caption(row.name, row.y + aside, colour=row.fill.stroke)
    yield _caption(layer.name, (layer.rows[0].y + layer.rows[-1].y) / 2 - aside, weight=600)
    yield from _dropout_note(layer.rate, plan.steps[0], layer.floor)
    if plan.config.recurrent_dropout and layer is plan.layers[0]:
        yield _caption(f"state dropout {plan.config.recurrent_dropout:g}", layer.rows[0].y + aside + 16)
    if plan.config.layer_norm:
        yield _caption("layer norm", layer.floor - 44)
    if layer.add is not None:
        yield _caption("residual", layer.add)


def _entry(plan: _Plan, layer: _Layer, step: float) -> Iterator[str]:
    """Draw the way from below into the cells of a step."""
    pen, fork = Pen(is_dashed=layer.rate > 0), layer.floor - 32
    if not plan.config.layer_norm:
        for row, begin in zip(layer.rows, (layer.floor, fork), strict=False):
            yield draw_rise((step, begin), (step + row.shift, row.cell(0).bottom), pen, (fork, layer.floor - _ENTRY))
        return
    bar = Box(step, layer.floor - 44, height=7)
    yield draw_rise((step, layer.floor), (step, bar.bottom), pen)
    yield from (draw_rise((step + row.shift, bar.top), (step + row.shift, row.cell(0).bottom)) for row in layer.rows)
    yield draw_box(bar, _BAR, "norm")


def _exit(plan: _Plan, layer: _Layer, step: float) -> Iterator[str]:
    """Draw the way from the cells of a step to the layer's output."""
    below = layer.rows[0].cell(step).top
    if layer.merge is not None:
        bar = Box(step, layer.merge, height=22)
        below = bar.top
        for row in layer.rows:
            cell = row.cell(step)
            yield draw_rise((cell.x, cell.top), (cell.x, bar.bottom), Pen(row.fill.stroke))
        yield draw_box(bar, _PAPER, "merge", plan.config.merge or "concat")
    if layer.add is not None:
        yield draw_rise((step, below), (step, layer.add + _PLUS))
        yield from _skip(plan, layer, step, 0, layer.add)


def _skip(plan: _Plan, layer: _Layer, step: float, shift: float, add: float) -> Iterator[str]:
    """Draw what a residual layer adds, from its input around the cells to a plus over the lane at `shift`."""
    side = -1 if shift < 0 else 1
    around, low = step + side * (plan.half + 17), layer.floor - 24
    points = [(step, low), (around, low), (around, add), (step + shift + side * _PLUS, add)]
    yield draw_route(points, Pen(part="skip"), radius=16)
    yield draw_circle((step, low), 2.6, Fill(GREY))
    yield draw_disc((step + shift, add), _PLUS, _PAPER, "+")


def _ends(plan: _Plan, layer: _Layer) -> Iterator[str]:
    """Draw the way of each direction's last state into the pooling."""
    pool = _head_boxes(plan, (plan.steps[0] + plan.steps[-1]) / 2)[0]
    for row in layer.rows:
        step = plan.steps[-1 if row.sign > 0 else 0]
        x, start, pen = step + row.shift, row.cell(step).top, Pen(row.fill.stroke, "final")
        if layer.add is not None:
            yield draw_rise((x, start), (x, layer.add + _PLUS), pen)
            yield from _skip(plan, layer, step, row.shift, layer.add)
            start = layer.add - _PLUS
        yield draw_rise((x, start), (pool.x - row.shift, pool.bottom), pen, (layer.top - 6, pool.bottom))


def _time(plan: _Plan, row: _Row) -> Iterator[str]:
    """Draw the state before the first step and its way through all steps."""
    sign, fill, is_learned = row.sign, row.fill, plan.config.learned_state
    pen = Pen(fill.stroke, row.name, plan.config.recurrent_dropout > 0, is_over=True)
    stops = [*((step + row.shift, Box(0, 0).right) for step in plan.steps), (plan.dots, _DOTS)]
    stops = sorted(stops, key=lambda stop: sign * stop[0])
    start, radius = stops[0][0] - sign * (stops[0][1] + _STATE_GAP), _DISC if is_learned else _PLUS
    for (begin, begin_half), (end, end_half) in pairwise([(start, radius), *stops]):
        yield draw_route([(begin + sign * begin_half, row.y), (end - sign * end_half, row.y)], pen)
    yield draw_dots(plan.dots, row.y, fill.stroke)
    state, paper = (("h", "0"), replace(fill, fill="#ffffff")) if is_learned else (("0", ""), _PAPER)
    yield draw_disc((start, row.y), radius, paper, *state)


def _cut(plan: _Plan) -> Iterator[str]:
    """Draw where the gradient through time is cut."""
    if not plan.config.bptt_steps:
        return
    x, bottom, top = plan.dots + 45, plan.layers[0].rows[0].y + 32, plan.layers[-1].rows[-1].y - 32
    line = f'd="M{x:g} {bottom:g} V{top:g}" fill="none" stroke="{INK}" stroke-width="1.8" stroke-dasharray="0.1 5"'
    yield f'<path data-part="cut" {line}/>'
    yield draw_text((x, bottom + 11), "gradient cut", size=11)
    yield draw_text((x, bottom + 24), f"every {plan.config.bptt_steps} steps", size=11)


def _head_boxes(plan: _Plan, x: float) -> list[Box]:
    """Stack the main head's boxes over x, from below."""
    lowest, width = (plan.layers[-1].top - 58, Box(0, 0).width) if plan.task == "tagging" else (plan.layers[-1].top - 92, 158)
    return [Box(x, lowest - 68 * number, width) for number in range(len(_name_head(plan)))]


def _label_y(plan: _Plan) -> float:
    return _head_boxes(plan, 0)[-1].top - 26 - _DISC


def _head(plan: _Plan) -> Iterator[str]:
    yield from _tagger(plan) if plan.task == "tagging" else _classifier(plan)
    yield _caption("label", _label_y(plan), weight=600)


def _tagger(plan: _Plan) -> Iterator[str]:
    y, floor, pen = _label_y(plan), plan.layers[-1].top, Pen(is_dashed=plan.config.dropout > 0)
    if plan.config.crf:
        stops = sorted([*((step, _DISC) for step in plan.steps), (plan.dots, _DOTS)])
        for (begin, begin_half), (end, end_half) in pairwise(stops):
            yield draw_route([(begin + begin_half, y), (end - end_half, y)], Pen(INK, "crf"), has_tip=False)
        name = "CRF, BIO" if plan.config.bio else "CRF"
        yield draw_text(((plan.steps[0] + plan.steps[1]) / 2, y - 11), name, weight=600)
    yield draw_dots(plan.dots, y)
    for index, step in zip(STEPS, plan.steps, strict=True):
        (box,) = _head_boxes(plan, step)
        yield draw_rise((step, floor), (step, box.bottom), pen)
        yield draw_rise((step, box.top), (step, y + _DISC))
        yield draw_box(box, _TINTED, "head", *_name_head(plan))
        yield draw_disc((step, y), _DISC, _SOLID, "y", index)
    yield from _dropout_note(plan.config.dropout, plan.steps[0], floor)


def _classifier(plan: _Plan) -> Iterator[str]:
    boxes = _head_boxes(plan, (plan.steps[0] + plan.steps[-1]) / 2)
    pool, pen = boxes[0], Pen(is_dashed=plan.config.dropout > 0)
    for place, step in zip((-45, 0, 45), () if plan.takes_ends else plan.steps, strict=not plan.takes_ends):
        yield draw_rise((step, plan.layers[-1].top), (pool.x + place, pool.bottom), Pen(part="pooled"))
    for below, above in pairwise(boxes):
        yield draw_rise((pool.x, below.top), (pool.x, above.bottom), pen)
        yield from _dropout_note(plan.config.dropout, pool.x, below.top)
    yield draw_rise((pool.x, boxes[-1].top), (pool.x, _label_y(plan) + _DISC))
    yield from (draw_box(box, _TINTED, "head", name) for name, box in zip(_name_head(plan), boxes, strict=True))
    yield draw_disc((pool.x, _label_y(plan)), _DISC, _SOLID, "y")


def _dropout_note(rate: float, x: float, floor: float) -> Iterator[str]:
    if rate:
        yield draw_text((x - 8, floor - 14), f"dropout {rate:g}", anchor="end", size=11, colour=GREY)


def _place_others(plan: _Plan) -> list[Box]:
    """Place the further heads beside the layer that they read."""
    rows, number = plan.layers[-1].rows, len(plan.config.heads)
    middle = (rows[0].y + rows[-1].y) / 2
    return [Box(plan.right + 140, middle + 48 * (index - (number - 1) / 2), 128) for index in range(number)]


def _others(plan: _Plan, boxes: list[Box]) -> Iterator[str]:
    """Draw the further heads; a bracket stands for all that the last layer gives."""
    if not boxes:
        return
    x, top, bottom = plan.right + 22, plan.layers[-1].top, plan.layers[-1].rows[0].cell(0).bottom
    trunk, middle = x + 24, (boxes[0].y + boxes[-1].y) / 2
    yield draw_route([(x - 10, top), (x, top), (x, bottom), (x - 10, bottom)], has_tip=False)
    yield draw_route([(x, middle), (trunk, middle)], has_tip=False)
    yield draw_route([(trunk, boxes[0].y), (trunk, boxes[-1].y)], has_tip=False)
    for box, (name, weight) in zip(boxes, plan.config.heads.items(), strict=True):
        yield draw_route([(trunk, box.y), (box.left, box.y)], Pen(is_dashed=plan.config.dropout > 0))
        yield draw_box(box, _TINTED, "head", name, f"weight {weight:g}")
    yield draw_text((boxes[0].x, boxes[0].top - 14), "further heads", weight=600)


def _caption(text: str, y: float, *, colour: str = GREY, weight: int = 400) -> str:
    return draw_text((_GUTTER, y), text, colour=INK if weight > 400 else colour, anchor="end", weight=weight)
