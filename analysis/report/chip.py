"""A verdict as a coloured word, the same on every page."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Chip:
    """``kind`` is its colour, good, bad, open or none; ``count`` of several alike, and what the
    verdict is ``of``."""

    word: str
    kind: str
    count: int = 1
    of: str = ""

    def __str__(self) -> str:
        text = self.word if self.count == 1 else f"{self.count} {self.word}"
        return f"{text} {self.of}".rstrip()
