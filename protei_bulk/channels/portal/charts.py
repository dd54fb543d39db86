"""Charts as SVG: where the points of lines and the ticks of axes lie. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

_ROWS = 40


@frozen
class Tick:
    at: float
    text: str


@frozen
class Line:
    name: str
    path: str
    area: str


@frozen
class Chart:
    """Coordinates in the units of the view box; `rows` say the same as a table, for those who see no picture."""

    width: int
    height: int
    left: int
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]


def nice_ceiling(value: float) -> float:
    """The least of 1, 2, 2.5, 5 times a power of ten that is not below a value; at least 1."""
    if value <= 1:
        return 1.0
    power = 1.0
    while power < value:
        power *= 10
    return next(power / 10 * f for f in (1, 2, 2.5, 5, 10) if power / 10 * f >= value - 1e-9)


def short(value: float) -> str:
    """A figure as an axis shows it: 1500 is 1.5k."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def line_chart(labels: Sequence[str], series: Sequence[tuple[str, Sequence[float]]], *, width: int = 720, height: int = 220,
               ticks: int = 6) -> Chart:  # fmt: skip
    """Lines over equally spaced labels; each series holds a value a label."""
    left, top, bottom = 44, 10, 24
    most = nice_ceiling(max((v for _, values in series for v in values), default=0))
    count = len(labels)
    step = (width - left - 8) / max(1, count - 1)

    def x(i: int) -> float:
        return round(left + i * step, 1)

    def y(value: float) -> float:
        return round(top + (height - top - bottom) * (1 - value / most), 1)

    lines = []
    for name, values in series:
        points = [f"{x(i)} {y(v)}" for i, v in enumerate(values)]
        path = "M" + "L".join(points) if points else ""
        area = f"{path}L{x(len(points) - 1)} {y(0)}L{x(0)} {y(0)}Z" if points else ""
        lines.append(Line(name, path, area))
    every = max(1, -(-count // ticks))
    half = 3.2 * max((len(label) for label in labels), default=0)  # of a label's width
    x_ticks = tuple(Tick(round(min(max(x(i), half), width - half), 1), labels[i]) for i in range(0, count, every))
    y_ticks = tuple(Tick(y(most * f), short(most * f)) for f in (0, 0.5, 1))
    thin = max(1, count // _ROWS)  # nobody listens to hundreds of rows
    rows = tuple((labels[i], tuple(values[i] for _, values in series)) for i in range(0, count, thin))
    return Chart(width, height, left, tuple(lines), x_ticks, y_ticks, rows)
