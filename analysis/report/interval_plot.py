"""A number with its interval against the range that is claimed, as a line of a table shows it.

The claimed range is a band, the interval a line, the value a dot. Each plot has a scale of its own,
for claims have units of their own: what is to be seen is whether the line lies in the band. An end
that is open runs to the edge.
"""

import math

from markupsafe import Markup, escape

WIDTH, HEIGHT, EDGE = 180, 22, 6  # px
ROOM = 0.25  # of what is shown, beyond what must be


def interval_plot(
    value: float, low: float, high: float, claimed: tuple[float, float], says: str
) -> Markup:
    """An inline SVG of ``value`` in ``low`` to ``high`` against the ``claimed`` range, whose
    alternative text is ``says``; nothing where there is no value."""
    if not math.isfinite(value):
        return Markup("")
    ends = [end for end in (value, low, high, *claimed) if math.isfinite(end)]
    span = (max(ends) - min(ends)) or abs(value) or 1.0
    least, most = min(ends) - ROOM * span, max(ends) + ROOM * span

    def x(number: float) -> float:
        inside = min(max(number, least), most)
        place = EDGE + (inside - least) / (most - least) * (WIDTH - 2 * EDGE)
        return 0.0 if number == -math.inf else float(WIDTH) if number == math.inf else place

    middle = HEIGHT / 2
    parts = []
    if not math.isnan(claimed[0]):
        left, right = map(x, claimed)
        parts.append(
            f'<rect class="claimed" x="{left:.1f}" y="1" width="{right - left:.1f}" '
            f'height="{HEIGHT - 2}"/>'
        )
    if least < 0 < most:
        parts.append(f'<path class="zero" d="M{x(0):.1f} 1V{HEIGHT - 1}"/>')
    if not (math.isnan(low) or math.isnan(high)):
        parts.append(f'<path class="interval" d="M{x(low):.1f} {middle}H{x(high):.1f}"/>')
    parts.append(f'<circle class="value" cx="{x(value):.1f}" cy="{middle}" r="3.5"/>')
    return Markup(
        f'<svg class="plot" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" aria-label="{escape(says)}">{"".join(parts)}</svg>'
    )
