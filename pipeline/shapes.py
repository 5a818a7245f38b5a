"""Boxes, discs, texts and routed edges as SVG: strings, made of numbers alone, with no font, class or id to depend on."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from unicodedata import east_asian_width
from xml.sax.saxutils import escape

INK, GREY = "#1f2933", "#5b6875"
ROUND = 10.0

Point = tuple[float, float]


@dataclass(frozen=True)
class Fill:
    """The colours of a shape."""

    fill: str = "#ffffff"
    stroke: str = GREY
    text: str = INK


@dataclass(frozen=True)
class Pen:
    """How an edge is drawn; `is_over` leaves white beside it, where it crosses others."""

    colour: str = GREY
    part: str = "edge"
    is_dashed: bool = False
    is_over: bool = False


@dataclass(frozen=True)
class Box:
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


def escape_text(text: str) -> str:
    """Escape what XML reads as markup, and replace what it refuses."""
    return escape("".join(letter if letter.isprintable() else "\ufffd" for letter in text))


def draw_text(
    at: Point, text: str, *, sub: str = "", size: int = 12, colour: str = INK, anchor: str = "middle", weight: int = 400
) -> str:
    """Draw a line of text around the height of a point, `sub` small below its end."""
    below = f'<tspan dy="3" font-size="9">{sub}</tspan>' if sub else ""
    return (
        f'<text x="{at[0]:g}" y="{at[1] + 0.35 * size:g}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="{colour}">{escape_text(text)}{below}</text>'
    )


def draw_box(box: Box, fill: Fill, part: str, *lines: str) -> str:
    """Draw a box with lines of text, shortened to its width."""
    rect = (
        f'<rect data-part="{part}" x="{box.left:g}" y="{box.top:g}" width="{box.width:g}" height="{box.height:g}" '
        f'rx="{min(7, box.height / 2):g}" fill="{fill.fill}" stroke="{fill.stroke}" stroke-width="1.3"/>'
    )
    heights = [box.y + 14 * (number - (len(lines) - 1) / 2) for number in range(len(lines))]
    size = 12 if len(lines) == 1 else 11
    return rect + "".join(
        draw_text((box.x, y), _fit(line, box.width, size), size=size, colour=fill.text)
        for line, y in zip(lines, heights, strict=True)
    )


def draw_circle(at: Point, radius: float, fill: Fill) -> str:
    """Draw a circle around a point."""
    place = f'cx="{at[0]:g}" cy="{at[1]:g}" r="{radius:g}"'
    return f'<circle {place} fill="{fill.fill}" stroke="{fill.stroke}" stroke-width="1.3"/>'


def draw_disc(at: Point, radius: float, fill: Fill, text: str, sub: str = "") -> str:
    """Draw a circle with a text in it."""
    return draw_circle(at, radius, fill) + draw_text(at, text, sub=sub, colour=fill.text)


def draw_dots(x: float, y: float, colour: str = GREY) -> str:
    """Draw three dots, for what is left out."""
    return "".join(draw_circle((x + shift, y), 1.3, Fill(colour, colour)) for shift in (-8, 0, 8))


def _toward(begin: Point, end: Point, distance: float) -> Point:
    """Go from one point to another on the level or upright, at most half the way."""
    (x, y), length = begin, abs(end[0] - begin[0]) + abs(end[1] - begin[1])
    share = min(distance / length, 0.5) if length else 0
    return x + (end[0] - x) * share, y + (end[1] - y) * share


def draw_route(points: Sequence[Point], pen: Pen = Pen(), *, has_tip: bool = True, radius: float = ROUND) -> str:
    """Draw level and upright lines with round corners between."""
    path = f"M{points[0][0]:g} {points[0][1]:g}"
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        begin, end = _toward(corner, before, radius), _toward(corner, after, radius)
        path += f" L{begin[0]:g} {begin[1]:g} Q{corner[0]:g} {corner[1]:g} {end[0]:g} {end[1]:g}"
    x, y = points[-1]
    if not has_tip:
        return draw_edge(f"{path} L{x:g} {y:g}", pen)
    sign = 1 if x > points[-2][0] else -1
    return draw_edge(f"{path} H{x - 6 * sign:g}", pen) + _tip((x, y), 90 * sign, pen.colour)


def draw_rise(begin: Point, end: Point, pen: Pen = Pen(), bend: Point | None = None) -> str:
    """Draw an edge upwards, swung from one lane to the other between the two heights of `bend`."""
    (x, y), (to_x, to_y) = begin, end
    low, high = bend or (y, to_y)
    high = max(high, to_y + 6)
    middle = (low + high) / 2
    path = f"M{x:g} {y:g} V{low:g} C{x:g} {middle:g} {to_x:g} {middle:g} {to_x:g} {high:g} V{to_y + 6:g}"
    return draw_edge(path, pen) + _tip(end, 0, pen.colour)


def draw_edge(path: str, pen: Pen) -> str:
    """Draw a path with a pen."""
    dash = ' stroke-dasharray="5 4"' if pen.is_dashed else ""
    white = f'<path d="{path}" fill="none" stroke="#ffffff" stroke-width="6"/>' if pen.is_over else ""
    return f'{white}<path data-part="{pen.part}" d="{path}" fill="none" stroke="{pen.colour}" stroke-width="1.5"{dash}/>'


def _tip(at: Point, turn: int, colour: str) -> str:
    """Draw an arrow's head that points upwards, turned clockwise by so many degrees."""
    place = f"translate({at[0]:g} {at[1]:g}) rotate({turn})"
    return f'<path d="M0 0 L3.6 8 H-3.6 Z" transform="{place}" fill="{colour}"/>'
