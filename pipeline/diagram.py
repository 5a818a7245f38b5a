"""The network of a config, unrolled over time, as an SVG: for reports and docs.

Time runs from left to right, computing from bottom to top. It needs the config alone: no torch, data, file or font.
Elements are named by `data-part` and none has an id, so that several pictures can stand in one page.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, pairwise
from unicodedata import east_asian_width
from xml.sax.saxutils import escape

from models.config import ModelConfig, Task

STEPS = ("1", "2", "T")
"""The steps that are drawn; dots between the last two stand for all others."""

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_INK, _GREY = "#1f2933", "#5b6875"
_DISC, _PLUS, _DOTS = 14.0, 9.0, 18.0  # radii, and half of what the dots take
_ENTRY, _ROW_PITCH = 66.0, 64.0  # below a layer: its dropout, norm and fork; between its two directions
_LANE, _STATE_GAP, _BUS = 36.0, 46.0, 90.0  # from a step: to either cell, to the lines around its inputs; from cell to state
_GUTTER, _MARGIN, _ROUND = 124.0, 22.0, 10.0

_CELLS = {"simple_rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}
_ENCODERS = {"lstm": "BiLSTM", "gru": "BiGRU", "cnn": "CNN"}
_POOLINGS = {"max": "max over time", "mean": "mean over time", "attention": "attention over time"}

_Point = tuple[float, float]


@dataclass(frozen=True)
class _Fill:
    """The colours of a shape."""

    fill: str = "#ffffff"
    stroke: str = _GREY
    text: str = _INK


_PAPER, _TINTED, _BAR, _SOLID = _Fill(), _Fill("#f1f3f5"), _Fill("#cbd2d9"), _Fill(_INK, _INK, "#ffffff")


@dataclass(frozen=True)
class _Pen:
    """How an edge is drawn; `is_over` leaves white beside it, where it crosses others."""

    colour: str = _GREY
    part: str = "edge"
    is_dashed: bool = False
    is_over: bool = False


@dataclass(frozen=True)
class _Box:
    """A rectangle around (x, y); y grows downwards."""

    x: float
    y: float
    width: float = 118.0
    height: float = 36.0

    @property
    def top(self) -> float:
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height / 2

    @property
    def left(self) -> float:
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        return self.x + self.width / 2


@dataclass(frozen=True)
class _Row:
    """The cells of one direction, which `sign` tells: 1 is left to right; `shift` is from a step's middle to its cell."""

    name: str
    sign: int
    fill: _Fill
    shift: float
    y: float

    def cell(self, step: float) -> _Box:
        return _Box(step + self.shift, self.y)


_FORWARD, _BACKWARD = ("forward", 1, _Fill("#e3eefa", "#1f5f9e")), ("backward", -1, _Fill("#fdeee1", "#b3540e"))


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
<desc>{_escape(_description(plan))}</desc>
<rect data-part="background" x="{-_MARGIN:g}" y="{top:g}" width="{width:g}" height="{height:g}" fill="#ffffff"/>
{"".join(f"{part}{chr(10)}" for part in body)}</svg>
"""


def _plan(config: ModelConfig, task: Task, is_numeric: bool) -> _Plan:
    """Place everything; two directions get room beside each other, so that each has a straight way upwards."""
    lane, pitch, to_dots = (_LANE, 240.0, 170.0) if config.bidirectional else (0.0, 204.0, 138.0)
    half = _Box(0, 0).right + lane
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


def _joined(plan: _Plan, step: float) -> _Box:
    """Place what the first layer reads: the joined vector, or the only input."""
    number = len(plan.inputs)
    return _Box(step, -60) if number == 1 else _Box(step, -50.0 - 38 * number, height=28)


def _inputs(plan: _Plan) -> Iterator[str]:
    yield _dots(plan.dots, 0)
    for index, step in zip(STEPS, plan.steps, strict=True):
        joined = _joined(plan, step)
        if len(plan.inputs) == 1:
            yield _rise((step, -_DISC), (step, joined.bottom))
            yield _box(joined, _TINTED, "input", *plan.inputs)
        else:
            yield from _join(plan.inputs, joined)
        yield _disc((step, 0), _DISC, _PAPER, "x", index)
    yield _caption("input", 0, weight=600)


def _join(inputs: Sequence[str], joined: _Box) -> Iterator[str]:
    """Draw a step's inputs above each other, between a line that brings the step and one that takes their vectors."""
    left, right = joined.x - _BUS, joined.x + _BUS
    boxes = [_Box(joined.x, -48.0 - 38 * number, 150, 28) for number in range(len(inputs))]
    begins = [[(joined.x - _DISC, 0.0), (left, 0.0)], *([(left, box.y + _ROUND)] for box in boxes)]
    ends = [*([(right, box.y - _ROUND)] for box in boxes[1:]), [(right, joined.y), (joined.right, joined.y)]]
    for name, box, begin, end in zip(inputs, boxes, begins, ends, strict=False):
        yield _route([*begin, (left, box.y), (box.left, box.y)])
        yield _route([(box.right, box.y), (right, box.y), *end], has_tip=box is boxes[-1])
        yield _box(box, _TINTED, "input", name)
    yield _box(joined, _PAPER, "joined", "joined vector")


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
        yield from (_box(row.cell(step), row.fill, "cell", *layer.cell) for step in plan.steps)
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
    pen, fork = _Pen(is_dashed=layer.rate > 0), layer.floor - 32
    if not plan.config.layer_norm:
        for row, begin in zip(layer.rows, (layer.floor, fork), strict=False):
            yield _rise((step, begin), (step + row.shift, row.cell(0).bottom), pen, (fork, layer.floor - _ENTRY))
        return
    bar = _Box(step, layer.floor - 44, height=7)
    yield _rise((step, layer.floor), (step, bar.bottom), pen)
    yield from (_rise((step + row.shift, bar.top), (step + row.shift, row.cell(0).bottom)) for row in layer.rows)
    yield _box(bar, _BAR, "norm")


def _exit(plan: _Plan, layer: _Layer, step: float) -> Iterator[str]:
    """Draw the way from the cells of a step to the layer's output."""
    below = layer.rows[0].cell(step).top
    if layer.merge is not None:
        bar = _Box(step, layer.merge, height=22)
        below = bar.top
        for row in layer.rows:
            cell = row.cell(step)
            yield _rise((cell.x, cell.top), (cell.x, bar.bottom), _Pen(row.fill.stroke))
        yield _box(bar, _PAPER, "merge", plan.config.merge or "concat")
    if layer.add is not None:
        yield _rise((step, below), (step, layer.add + _PLUS))
        yield from _skip(plan, layer, step, 0, layer.add)


def _skip(plan: _Plan, layer: _Layer, step: float, shift: float, add: float) -> Iterator[str]:
    """Draw what a residual layer adds, from its input around the cells to a plus over the lane at `shift`."""
    side = -1 if shift < 0 else 1
    around, low = step + side * (plan.half + 17), layer.floor - 24
    points = [(step, low), (around, low), (around, add), (step + shift + side * _PLUS, add)]
    yield _route(points, _Pen(part="skip"), radius=16)
    yield _circle((step, low), 2.6, _Fill(_GREY))
    yield _disc((step + shift, add), _PLUS, _PAPER, "+")


def _ends(plan: _Plan, layer: _Layer) -> Iterator[str]:
    """Draw the way of each direction's last state into the pooling."""
    pool = _head_boxes(plan, (plan.steps[0] + plan.steps[-1]) / 2)[0]
    for row in layer.rows:
        step = plan.steps[-1 if row.sign > 0 else 0]
        x, start, pen = step + row.shift, row.cell(step).top, _Pen(row.fill.stroke, "final")
        if layer.add is not None:
            yield _rise((x, start), (x, layer.add + _PLUS), pen)
            yield from _skip(plan, layer, step, row.shift, layer.add)
            start = layer.add - _PLUS
        yield _rise((x, start), (pool.x - row.shift, pool.bottom), pen, (layer.top - 6, pool.bottom))


def _time(plan: _Plan, row: _Row) -> Iterator[str]:
    """Draw the state before the first step and its way through all steps."""
    sign, fill, is_learned = row.sign, row.fill, plan.config.learned_state
    pen = _Pen(fill.stroke, row.name, plan.config.recurrent_dropout > 0, is_over=True)
    stops = [*((step + row.shift, _Box(0, 0).right) for step in plan.steps), (plan.dots, _DOTS)]
    stops = sorted(stops, key=lambda stop: sign * stop[0])
    start, radius = stops[0][0] - sign * (stops[0][1] + _STATE_GAP), _DISC if is_learned else _PLUS
    for (begin, begin_half), (end, end_half) in pairwise([(start, radius), *stops]):
        yield _route([(begin + sign * begin_half, row.y), (end - sign * end_half, row.y)], pen)
    yield _dots(plan.dots, row.y, fill.stroke)
    state, paper = (("h", "0"), replace(fill, fill="#ffffff")) if is_learned else (("0", ""), _PAPER)
    yield _disc((start, row.y), radius, paper, *state)


def _cut(plan: _Plan) -> Iterator[str]:
    """Draw where the gradient through time is cut."""
    if not plan.config.bptt_steps:
        return
    x, bottom, top = plan.dots + 45, plan.layers[0].rows[0].y + 32, plan.layers[-1].rows[-1].y - 32
    line = f'd="M{x:g} {bottom:g} V{top:g}" fill="none" stroke="{_INK}" stroke-width="1.8" stroke-dasharray="0.1 5"'
    yield f'<path data-part="cut" {line}/>'
    yield _text((x, bottom + 11), "gradient cut", size=11)
    yield _text((x, bottom + 24), f"every {plan.config.bptt_steps} steps", size=11)


def _head_boxes(plan: _Plan, x: float) -> list[_Box]:
    """Stack the main head's boxes over x, from below."""
    lowest, width = (plan.layers[-1].top - 58, _Box(0, 0).width) if plan.task == "tagging" else (plan.layers[-1].top - 92, 158)
    return [_Box(x, lowest - 68 * number, width) for number in range(len(_name_head(plan)))]


def _label_y(plan: _Plan) -> float:
    return _head_boxes(plan, 0)[-1].top - 26 - _DISC


def _head(plan: _Plan) -> Iterator[str]:
    yield from _tagger(plan) if plan.task == "tagging" else _classifier(plan)
    yield _caption("label", _label_y(plan), weight=600)


def _tagger(plan: _Plan) -> Iterator[str]:
    y, floor, pen = _label_y(plan), plan.layers[-1].top, _Pen(is_dashed=plan.config.dropout > 0)
    if plan.config.crf:
        stops = sorted([*((step, _DISC) for step in plan.steps), (plan.dots, _DOTS)])
        for (begin, begin_half), (end, end_half) in pairwise(stops):
            yield _route([(begin + begin_half, y), (end - end_half, y)], _Pen(_INK, "crf"), has_tip=False)
        name = "CRF, BIO" if plan.config.bio else "CRF"
        yield _text(((plan.steps[0] + plan.steps[1]) / 2, y - 11), name, weight=600)
    yield _dots(plan.dots, y)
    for index, step in zip(STEPS, plan.steps, strict=True):
        (box,) = _head_boxes(plan, step)
        yield _rise((step, floor), (step, box.bottom), pen)
        yield _rise((step, box.top), (step, y + _DISC))
        yield _box(box, _TINTED, "head", *_name_head(plan))
        yield _disc((step, y), _DISC, _SOLID, "y", index)
    yield from _dropout_note(plan.config.dropout, plan.steps[0], floor)


def _classifier(plan: _Plan) -> Iterator[str]:
    boxes = _head_boxes(plan, (plan.steps[0] + plan.steps[-1]) / 2)
    pool, pen = boxes[0], _Pen(is_dashed=plan.config.dropout > 0)
    for place, step in zip((-45, 0, 45), () if plan.takes_ends else plan.steps, strict=not plan.takes_ends):
        yield _rise((step, plan.layers[-1].top), (pool.x + place, pool.bottom), _Pen(part="pooled"))
    for below, above in pairwise(boxes):
        yield _rise((pool.x, below.top), (pool.x, above.bottom), pen)
        yield from _dropout_note(plan.config.dropout, pool.x, below.top)
    yield _rise((pool.x, boxes[-1].top), (pool.x, _label_y(plan) + _DISC))
    yield from (_box(box, _TINTED, "head", name) for name, box in zip(_name_head(plan), boxes, strict=True))
    yield _disc((pool.x, _label_y(plan)), _DISC, _SOLID, "y")


def _dropout_note(rate: float, x: float, floor: float) -> Iterator[str]:
    if rate:
        yield _text((x - 8, floor - 14), f"dropout {rate:g}", anchor="end", size=11, colour=_GREY)


def _place_others(plan: _Plan) -> list[_Box]:
    """Place the further heads beside the layer that they read."""
    rows, number = plan.layers[-1].rows, len(plan.config.heads)
    middle = (rows[0].y + rows[-1].y) / 2
    return [_Box(plan.right + 140, middle + 48 * (index - (number - 1) / 2), 128) for index in range(number)]


def _others(plan: _Plan, boxes: list[_Box]) -> Iterator[str]:
    """Draw the further heads; a bracket stands for all that the last layer gives."""
    if not boxes:
        return
    x, top, bottom = plan.right + 22, plan.layers[-1].top, plan.layers[-1].rows[0].cell(0).bottom
    trunk, middle = x + 24, (boxes[0].y + boxes[-1].y) / 2
    yield _route([(x - 10, top), (x, top), (x, bottom), (x - 10, bottom)], has_tip=False)
    yield _route([(x, middle), (trunk, middle)], has_tip=False)
    yield _route([(trunk, boxes[0].y), (trunk, boxes[-1].y)], has_tip=False)
    for box, (name, weight) in zip(boxes, plan.config.heads.items(), strict=True):
        yield _route([(trunk, box.y), (box.left, box.y)], _Pen(is_dashed=plan.config.dropout > 0))
        yield _box(box, _TINTED, "head", name, f"weight {weight:g}")
    yield _text((boxes[0].x, boxes[0].top - 14), "further heads", weight=600)


def _places(letter: str) -> float:
    """Guess a letter's width, as no font is at hand; most take one place."""
    if east_asian_width(letter) in "WF":
        return 1.8
    return 1.75 if letter in "mwMW@%&<>" else 1.1 if letter.isupper() else 1.0


def _fit(text: str, width: float, size: int) -> str:
    """Shorten a text to what a box has room for."""
    ends, room = list(accumulate(map(_places, text))), (width - 2) / (0.57 * size)
    if not ends or ends[-1] <= room:
        return text
    return "".join(letter for letter, end in zip(text, ends, strict=True) if end <= room - 1.5) + "…"


def _escape(text: str) -> str:
    """Escape what XML reads as markup, and replace what it refuses."""
    return escape("".join(letter if letter.isprintable() else "\ufffd" for letter in text))


def _text(
    at: _Point, text: str, *, sub: str = "", size: int = 12, colour: str = _INK, anchor: str = "middle", weight: int = 400
) -> str:
    below = f'<tspan dy="3" font-size="9">{sub}</tspan>' if sub else ""
    return (
        f'<text x="{at[0]:g}" y="{at[1] + 0.35 * size:g}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="{colour}">{_escape(text)}{below}</text>'
    )


def _caption(text: str, y: float, *, colour: str = _GREY, weight: int = 400) -> str:
    return _text((_GUTTER, y), text, colour=_INK if weight > 400 else colour, anchor="end", weight=weight)


def _box(box: _Box, fill: _Fill, part: str, *lines: str) -> str:
    rect = (
        f'<rect data-part="{part}" x="{box.left:g}" y="{box.top:g}" width="{box.width:g}" height="{box.height:g}" '
        f'rx="{min(7, box.height / 2):g}" fill="{fill.fill}" stroke="{fill.stroke}" stroke-width="1.3"/>'
    )
    heights = [box.y + 14 * (number - (len(lines) - 1) / 2) for number in range(len(lines))]
    size = 12 if len(lines) == 1 else 11
    return rect + "".join(
        _text((box.x, y), _fit(line, box.width, size), size=size, colour=fill.text)
        for line, y in zip(lines, heights, strict=True)
    )


def _circle(at: _Point, radius: float, fill: _Fill) -> str:
    place = f'cx="{at[0]:g}" cy="{at[1]:g}" r="{radius:g}"'
    return f'<circle {place} fill="{fill.fill}" stroke="{fill.stroke}" stroke-width="1.3"/>'


def _disc(at: _Point, radius: float, fill: _Fill, text: str, sub: str = "") -> str:
    return _circle(at, radius, fill) + _text(at, text, sub=sub, colour=fill.text)


def _dots(x: float, y: float, colour: str = _GREY) -> str:
    return "".join(_circle((x + shift, y), 1.3, _Fill(colour, colour)) for shift in (-8, 0, 8))


def _toward(begin: _Point, end: _Point, distance: float) -> _Point:
    """Go from one point to another on the level or upright, at most half the way."""
    (x, y), length = begin, abs(end[0] - begin[0]) + abs(end[1] - begin[1])
    share = min(distance / length, 0.5) if length else 0
    return x + (end[0] - x) * share, y + (end[1] - y) * share


def _route(points: Sequence[_Point], pen: _Pen = _Pen(), *, has_tip: bool = True, radius: float = _ROUND) -> str:
    """Draw level and upright lines with round corners between."""
    path = f"M{points[0][0]:g} {points[0][1]:g}"
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        begin, end = _toward(corner, before, radius), _toward(corner, after, radius)
        path += f" L{begin[0]:g} {begin[1]:g} Q{corner[0]:g} {corner[1]:g} {end[0]:g} {end[1]:g}"
    x, y = points[-1]
    if not has_tip:
        return _edge(f"{path} L{x:g} {y:g}", pen)
    sign = 1 if x > points[-2][0] else -1
    return _edge(f"{path} H{x - 6 * sign:g}", pen) + _tip((x, y), 90 * sign, pen.colour)


def _rise(begin: _Point, end: _Point, pen: _Pen = _Pen(), bend: _Point | None = None) -> str:
    """Draw an edge upwards, swung from one lane to the other between the two heights of `bend`."""
    (x, y), (to_x, to_y) = begin, end
    low, high = bend or (y, to_y)
    high = max(high, to_y + 6)
    middle = (low + high) / 2
    path = f"M{x:g} {y:g} V{low:g} C{x:g} {middle:g} {to_x:g} {middle:g} {to_x:g} {high:g} V{to_y + 6:g}"
    return _edge(path, pen) + _tip(end, 0, pen.colour)


def _edge(path: str, pen: _Pen) -> str:
    dash = ' stroke-dasharray="5 4"' if pen.is_dashed else ""
    white = f'<path d="{path}" fill="none" stroke="#ffffff" stroke-width="6"/>' if pen.is_over else ""
    return f'{white}<path data-part="{pen.part}" d="{path}" fill="none" stroke="{pen.colour}" stroke-width="1.5"{dash}/>'


def _tip(at: _Point, turn: int, colour: str) -> str:
    """Draw an arrow's head that points upwards, turned clockwise by so many degrees."""
    place = f"translate({at[0]:g} {at[1]:g}) rotate({turn})"
    return f'<path d="M0 0 L3.6 8 H-3.6 Z" transform="{place}" fill="{colour}"/>'
