"""A picture of a network: boxes in the order of computation, as SVG."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from eddl.graph import State, Value

if TYPE_CHECKING:
    from eddl.training.model import Model

WIDTH, HEIGHT, GAP_X, GAP_Y = 190, 44, 26, 30
REACH = 90
"""How far to the side a line bends that passes other boxes."""
COLOURS = {
    "Conv": "#dbe9fb", "ConvTranspose": "#dbe9fb", "Gemm": "#dbe9fb", "MatMul": "#dbe9fb",
    "BatchNormalization": "#e7e0f7", "MaxPool": "#fdeacc", "GlobalAveragePool": "#fdeacc",
    "Concat": "#f2f2f2", "Relu": "#dcf3e3", "Softmax": "#dcf3e3",
}  # fmt: skip


def to_svg(model: Model) -> str:
    """The network from top to bottom: a box an operator, a line a tensor."""
    depth: dict[Value, int] = {}
    place: dict[Value, tuple[float, float]] = {}
    columns: dict[int, int] = {}
    boxes, lines = [], []

    def put(value: Value, row: int, title: str, text: str, colour: str) -> None:
        column = columns.get(row, 0)
        columns[row] = column + 1
        x, y = column * (WIDTH + GAP_X) + 10, row * (HEIGHT + GAP_Y) + 10
        place[value] = (x + WIDTH / 2, y)
        boxes.append(
            f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{colour}" '
            f'stroke="#8a94a3"/><text x="{x + 10}" y="{y + 18}" font-weight="600">{escape(title)}'
            f'</text><text x="{x + 10}" y="{y + 35}" fill="#556">{escape(text)}</text>'
        )

    for value in model.inputs:
        depth[value] = 0
        put(value, 0, model.names[value], repr(value.type), "#ffffff")
    for node in model.graph.nodes:
        sources = [v for v in node.inputs if v is not None and v in depth]
        row = 1 + max((depth[v] for v in sources), default=0)
        first = node.outputs[0]
        for output in node.outputs:
            depth[output] = row
        count = sum(s.type.count for s in node.inputs if isinstance(s, State))
        title = node.op + (f"  ({count:,})" if count else "")
        put(first, row, title, repr(first.type), COLOURS.get(node.op, "#f7f7f4"))
        for output in node.outputs[1:]:
            place[output] = place[first]
        lines += [
            _line(place[source], place[first], row - depth[source])
            for source in dict.fromkeys(sources)
        ]
    width = max(columns.values()) * (WIDTH + GAP_X) + REACH + 20
    height = (max(columns) + 1) * (HEIGHT + GAP_Y) + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(lines)}{"".join(boxes)}</svg>\n'
    )


def _line(source: tuple[float, float], target: tuple[float, float], rows: int) -> str:
    """Down to the next row; past others, around them."""
    (x0, y0), (x1, y1) = source, target
    if rows == 1:
        y0, bend = y0 + HEIGHT, (y0 + HEIGHT + y1) / 2
        points = (x0, y0), (x0, bend), (x1, bend), (x1, y1)
    else:
        x0, x1, y0, y1 = x0 + WIDTH / 2, x1 + WIDTH / 2, y0 + HEIGHT / 2, y1 + HEIGHT / 2
        side = max(x0, x1) + min(20 + 8 * rows, REACH)
        points = (x0, y0), (side, y0), (side, y1), (x1, y1)
    start, *rest = (f"{x:.0f},{y:.0f}" for x, y in points)
    return f'<path d="M{start} C{" ".join(rest)}" fill="none" stroke="#8a94a3"/>'
