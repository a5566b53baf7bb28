"""Small SVG pictures for the one-file reports: bars and lines, no script, nothing fetched."""

from collections.abc import Callable, Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 560, 260
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 40
WIDE_LEFT = 96  # where an axis is of money
COLOURS = ("#2455a4", "#c2571a", "#6b7686", "#2c7a51")


def bars(
    labels: Sequence[str],
    values: Sequence[float],
    *,
    title: str,
    marks: Sequence[float] = (),
    percent: bool = False,
) -> str:
    """Draw upright bars, and a mark over each where a second quantity is compared.

    Parameters
    ----------
    title : said to whoever cannot see the picture
    marks : of the same length as `values`, or none
    """
    top = max([*values, *marks, 0.0]) or 1.0
    step = (WIDTH - LEFT - RIGHT) / max(len(values), 1)
    drawn = []
    for place, (name, value) in enumerate(zip(labels, values, strict=True)):
        x = LEFT + place * step
        y = _y(value, top)
        drawn.append(
            f'<rect x="{x + step * 0.12:.1f}" y="{y:.1f}" width="{step * 0.76:.1f}" '
            f'height="{_y(0, top) - y:.1f}" fill="{COLOURS[0]}"/>'
            f'<text x="{x + step / 2:.1f}" y="{HEIGHT - 22}" text-anchor="middle">'
            f"{escape(name)}</text>"
        )
    for place, mark in enumerate(marks):
        x = LEFT + (place + 0.5) * step
        drawn.append(
            f'<circle cx="{x:.1f}" cy="{_y(mark, top):.1f}" r="5" fill="{COLOURS[1]}" '
            'stroke="white"/>'
        )
    return _picture(title, [*_grid(top, percent=percent), *drawn])


def lines(series: Mapping[str, Sequence[float]], *, title: str, named: bool = True) -> str:
    """Draw shares in [0, 1] over 0 to 100 %; each series begins at nothing.

    Parameters
    ----------
    series : name -> share at equal steps up to all
    named : write the names beside the picture
    """
    drawn = []
    for place, (name, shares) in enumerate(series.items()):
        colour = COLOURS[place % len(COLOURS)]
        points = " ".join(
            f"{LEFT + (WIDTH - LEFT - RIGHT) * at / len(shares):.1f},{_y(share, 1.0):.1f}"
            for at, share in enumerate([0.0, *shares])
        )
        drawn.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        if named:
            drawn.append(
                f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - BOTTOM - 10 - 16 * place}" '
                f'text-anchor="end" fill="{colour}">{escape(name)}</text>'
            )
    ticks = [
        f'<text x="{LEFT + (WIDTH - LEFT - RIGHT) * part / 4:.1f}" y="{HEIGHT - 22}" '
        f'text-anchor="{"end" if part == 4 else "middle"}">{25 * part}%</text>'
        for part in range(5)
    ]
    return _picture(title, [*_grid(1.0, percent=True), *ticks, *drawn])


def band(
    steps: Sequence[int],
    middle: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    *,
    title: str,
    said: Callable[[float], str],
) -> str:
    """Draw a line within a band, over whole steps, with nought marked.

    Parameters
    ----------
    steps : the days, or whatever is counted, in rising order; at least one
    low, high : the band's edges; all three of the same length as `steps`
    said : how a value is written at the axis
    """
    bottom, top = min(*low, 0.0), max(*high, 0.0)
    span = (top - bottom) or 1.0
    width = (WIDTH - WIDE_LEFT - RIGHT) / max(1, steps[-1] - steps[0])

    def at(step: int, value: float) -> str:
        y = TOP + (HEIGHT - TOP - BOTTOM) * (top - value) / span
        return f"{WIDE_LEFT + width * (step - steps[0]):.1f},{y:.1f}"

    def level(value: float, colour: str) -> str:
        y = at(steps[0], value).split(",")[1]
        return (
            f'<line x1="{WIDE_LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="{colour}"/>'
            f'<text x="{WIDE_LEFT - 6}" y="{float(y) + 4:.1f}" text-anchor="end">'
            f"{escape(said(value))}</text>"
        )

    edge = [at(*pair) for pair in zip(steps, high, strict=True)]
    edge += [at(*pair) for pair in zip(reversed(steps), reversed(low), strict=True)]
    line = " ".join(at(*pair) for pair in zip(steps, middle, strict=True))
    each = max(1, len(steps) // 7)
    days = [
        f'<text x="{at(step, 0.0).split(",")[0]}" y="{HEIGHT - 22}" text-anchor="middle">'
        f"{step}</text>"
        for step in steps[each - 1 :: each]
    ]
    drawn = [
        f'<polygon points="{" ".join(edge)}" fill="{COLOURS[0]}" fill-opacity="0.15"/>',
        *(level(value, "#e4e8f0") for value in (bottom, top) if abs(value) > span / 20),
        level(0.0, COLOURS[2]),
        f'<polyline points="{line}" fill="none" stroke="{COLOURS[0]}" stroke-width="2"/>',
    ]
    return _picture(title, [*drawn, *days])


def _y(value: float, top: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - max(value, 0.0) / top)


def _grid(top: float, *, percent: bool) -> list[str]:
    drawn = []
    for part in range(5):
        value = top * part / 4
        said = f"{value:.0%}" if percent else f"{value:,.3g}" if value < 1_000 else f"{value:,.0f}"
        y = _y(value, top)
        drawn.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e8f0"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{said}</text>'
        )
    return drawn


def _picture(title: str, drawn: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" '
        f'aria-label="{escape(title)}" font-size="12" fill="#1d2433">{"".join(drawn)}</svg>'
    )
