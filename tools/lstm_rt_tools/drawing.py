"""Drawings of directed graphs as SVG: boxes in layers from top to bottom, after Sugiyama, Tagawa and Toda (1981).

Boxes that follow each other are in one column; edges over several layers go between the boxes of those they pass.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from lstm_rt.text import shown

_LINE, _CHAR, _PAD, _GAP_X, _GAP_Y, _EDGE = 16, 7.2, 10, 24, 40, 14
_SWEEPS = 8
_LONGEST = 48  #: characters of a line
_STYLE = (
    "text{font:12px ui-monospace,Menlo,Consolas,monospace;fill:#1a1a1a}"
    "rect{fill:#f2f2f2;stroke:#555}.port rect{fill:#dcebf7;stroke:#2b6ca3}.cell rect{fill:#fbe9d0;stroke:#a6651b}"
    "path{fill:none;stroke:#777}path.head{fill:#777;stroke:none}"
    "@media(prefers-color-scheme:dark){svg{background:#1b1b1b}text{fill:#eee}rect{fill:#333;stroke:#999}"
    ".port rect{fill:#1d3a52}.cell rect{fill:#4a3415}path{stroke:#aaa}path.head{fill:#aaa}}"
)


@dataclass
class Box:
    """What is drawn of a node: lines of text, and its looks: ``port``, ``cell`` or none."""

    lines: Sequence[str]
    look: str = ""


@dataclass
class _Place:
    """A box, or where an edge passes a layer."""

    box: Box | None
    layer: int
    width: float = _EDGE
    height: float = 0.0
    above: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)
    x: float = 0.0  #: of its middle
    y: float = 0.0  #: of its top


def svg(boxes: Sequence[Box], edges: Sequence[tuple[int, int]], title: str) -> str:
    """The drawing as a document of its own; ``edges`` lead from a box to one behind it in the list.

    All text is escaped. A line that is too long loses its middle.
    """
    places, paths = _layered(boxes, edges)
    layers: list[list[int]] = [[] for _ in range(1 + max((p.layer for p in places), default=-1))]
    for k, p in enumerate(places):
        layers[p.layer].append(k)
    _order(places, layers)
    width, height = _arrange(places, layers)
    shapes = [_path([places[k] for k in path]) for path in paths]
    shapes += [_box(p) for p in places if p.box is not None]
    name = escape(shown(title, _LONGEST))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-label="{name}">'
    )
    return "\n".join([head, f"<title>{name}</title>", f"<style>{_STYLE}</style>", *shapes, "</svg>"]) + "\n"


def _layered(boxes: Sequence[Box], edges: Sequence[tuple[int, int]]) -> tuple[list[_Place], list[list[int]]]:
    """Every box one layer below the last that it comes from; edges cut at the layers that they pass."""
    depth = [0] * len(boxes)
    for a, b in sorted(set(edges), key=lambda e: e[1]):
        depth[b] = max(depth[b], depth[a] + 1)
    places = []
    for box, layer in zip(boxes, depth, strict=True):
        lines = [shown(line, _LONGEST) for line in box.lines]
        width = max(map(len, lines), default=0) * _CHAR + 2 * _PAD
        places.append(_Place(Box(lines, box.look), layer, width, len(lines) * _LINE + _PAD))
    paths = []
    for a, b in sorted(set(edges)):
        path = [a]
        for layer in range(depth[a] + 1, depth[b]):
            path.append(len(places))
            places.append(_Place(None, layer))
        path.append(b)
        for upper, lower in itertools.pairwise(path):
            places[upper].below.append(lower)
            places[lower].above.append(upper)
        paths.append(path)
    return places, paths


def _order(places: Sequence[_Place], layers: list[list[int]]) -> None:
    """Orders each layer by the means of where its neighbours are, down and up in turn, so that few edges cross."""
    at = {k: float(i) for layer in layers for i, k in enumerate(layer)}
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            means = {}
            for k in layer:
                near = places[k].above if down else places[k].below
                means[k] = sum(at[n] for n in near) / len(near) if near else at[k]
            layer.sort(key=lambda k: means[k])
            at.update((k, float(i)) for i, k in enumerate(layer))


def _arrange(places: Sequence[_Place], layers: Sequence[Sequence[int]]) -> tuple[float, float]:
    """Sets where everything is; returns how large the drawing is."""
    widths = [sum(places[k].width + _GAP_X for k in layer) for layer in layers]
    width, y = max(widths, default=0.0) + _GAP_X, float(_GAP_X)
    for layer, own in zip(layers, widths, strict=True):
        x, height = (width - own + _GAP_X) / 2, max((places[k].height for k in layer), default=0.0)
        for k in layer:
            p = places[k]
            p.x, p.y = x + p.width / 2, y
            p.height = p.height if p.box is not None else height
            x += p.width + _GAP_X
        y += height + _GAP_Y
    for _ in range(_SWEEPS):
        for layer in layers:
            _straighten(places, layer, width)
    return width, y - _GAP_Y + _GAP_X


def _straighten(places: Sequence[_Place], layer: Sequence[int], width: float) -> None:
    """Moves what is in a layer towards its neighbours above and below, as far as there is room."""
    for i, k in enumerate(layer):
        p = places[k]
        near = [places[n].x for n in (*p.above, *p.below)]
        low = places[layer[i - 1]].x + places[layer[i - 1]].width / 2 if i else 0.0
        high = places[layer[i + 1]].x - places[layer[i + 1]].width / 2 if i + 1 < len(layer) else width
        if near:
            wanted = sum(near) / len(near)
            p.x = min(max(wanted, low + _GAP_X + p.width / 2), max(high - _GAP_X - p.width / 2, p.x))


def _path(way: Sequence[_Place]) -> str:
    x, y = way[0].x, way[0].y + way[0].height
    parts = [f"M{x:.1f} {y:.1f}"]
    for p in way[1:]:
        end = p.y - (5 if p.box is not None else 0)
        middle = (y + end) / 2
        parts.append(f"C{x:.1f} {middle:.1f} {p.x:.1f} {middle:.1f} {p.x:.1f} {end:.1f}")
        x, y = p.x, p.y
        if p.box is None:
            y += p.height
            parts.append(f"V{y:.1f}")
    head = f'<path class="head" d="M{x - 4:.1f} {y - 6:.1f}L{x + 4:.1f} {y - 6:.1f}L{x:.1f} {y:.1f}Z"/>'
    return f'<path d="{"".join(parts)}"/>{head}'


def _box(p: _Place) -> str:
    assert p.box is not None
    left = p.x - p.width / 2
    round_ = 10 if p.box.look == "port" else 3
    rect = f'<rect x="{left:.1f}" y="{p.y:.1f}" width="{p.width:.1f}" height="{p.height:.1f}" rx="{round_}"/>'
    lines = "".join(
        f'<text x="{p.x:.1f}" y="{p.y + _PAD / 2 + (k + 0.78) * _LINE:.1f}" text-anchor="middle">{escape(line)}</text>'
        for k, line in enumerate(p.box.lines)
    )
    return f'<g class="{p.box.look}">{rect}{lines}</g>' if p.box.look else f"<g>{rect}{lines}</g>"
