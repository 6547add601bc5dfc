"""Where a multiplier of a module is searched: an axis of a search over ``mugrow.bench.modules``.

Steps of a quarter in log2 are exact in floating point, so a search that is replayed finds its
places again, and are finer than what two seeds tell apart.
"""

from dataclasses import dataclass

from mugrow.bench.spec import UserError

LARGEST_LOG2 = 32  # far beyond what trains


@dataclass(frozen=True)
class ModuleRange:
    """Where a multiplier of a module is searched (``mugrow.bench.modules``): its log2 from ``low``
    to ``high``, in steps of a quarter. Raises ``UserError`` where that is one point or none."""

    name: str
    low: float
    high: float

    def __post_init__(self) -> None:
        low, high = sorted((self.low, self.high))
        if not -LARGEST_LOG2 <= low <= high <= LARGEST_LOG2:
            raise UserError(
                f"the range of {self.name} is of log2 between {-LARGEST_LOG2} and "
                f"{LARGEST_LOG2}, not {self.low:g} to {self.high:g}"
            )
        if low == high:
            raise UserError(
                f"the range of {self.name} is one point, 2^{low:g}; to fix it, set "
                f"hyper.modules={self.name}:{2**low:g}"
            )
        if (self.low, self.high) != (low, high) or (high - low) * 4 % 1:
            last = low + max(1, round(4 * (high - low))) / 4
            raise UserError(
                f"the range of {self.name} is two log2 some quarters apart, the lower first, not "
                f"{self.low:g} and {self.high:g}; the nearest: {self.name}:{low:g}:{last:g}"
            )

    @property
    def log2_times(self) -> tuple[float, ...]:
        """The places of its axis."""
        return tuple(self.low + place / 4 for place in range(round(4 * (self.high - self.low)) + 1))
