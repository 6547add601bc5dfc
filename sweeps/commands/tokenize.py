"""``mugrow tokenize``: texts as a file of token ids."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

if TYPE_CHECKING:
    from mugrow.bench.data.tokenized import Progress

ON_A_TERMINAL_EVERY_S, EVERY_S = 0.2, 15.0


@dataclass(frozen=True)
class TokenizeCommand:
    """Encode texts to a file of token ids, which `mugrow run --corpus FILE` maps.

    CORPUS is whatever --corpus takes that is text: .txt, .jsonl, .parquet, folders, hf:NAME;
    several are one behind the other. Beside FILE.bin is written FILE.bin.json, which says what the
    ids are. A program that was stopped goes on from there.
    """

    corpora: Annotated[Positional[tuple[str, ...]], arg(metavar="CORPUS ...")]
    tokenizer: str
    """bytes, or hf:NAME: of the Hugging Face hub, or a folder that has a tokenizer.json."""
    out: Annotated[Path, arg(aliases=["-o"])]
    """The file to write, NAME.bin."""
    text_field: str | None = None
    """Of a corpus of records, as .jsonl: the field that is the text."""
    glob: str | None = None
    """Of a corpus that is a folder: the files to read, as '*.md,*.rst'; '*.txt' by default."""
    json: bool = False
    """Print as JSON."""

    def __call__(self) -> None:
        from mugrow.bench.data.corpora import with_options
        from mugrow.bench.data.tokenized import tokenize
        from mugrow.bench.spec import UserError
        from mugrow.sweeps.program import printable

        if not self.corpora:
            raise UserError("mugrow tokenize needs a corpus: a name or a path")
        asked = {"text_field": self.text_field, "glob": self.glob}
        words = [with_options(corpus, asked) for corpus in self.corpora]
        shown = _Shown()
        try:
            found = tokenize(words, self.tokenizer, self.out, shown)
        finally:
            shown.end()
        for corpus, others in found.left_out.items():
            print(f"corpus {corpus}: left out: {others}", file=sys.stderr)
        if self.json:
            import json

            from mugrow.analysis.read.plain import to_json

            print(json.dumps(to_json(found) | {"path": str(found.path)}, indent=2))
            return
        per_token = found.text_bytes / found.tokens
        print(
            printable(
                f"{found.path}: {found.tokens:,} tokens of {found.dtype}, a vocabulary of "
                f"{found.vocab_size:,}; {found.documents:,} documents; "
                f"{per_token:.2f} bytes a token"
            )
        )


class _Shown:
    """Progress on stderr: a line that stays in its place on a terminal, else one now and then."""

    def __init__(self) -> None:
        self.is_terminal = sys.stderr.isatty()
        self.every_s = ON_A_TERMINAL_EVERY_S if self.is_terminal else EVERY_S
        self.shown_s, self.width = time.monotonic(), 0

    def __call__(self, progress: "Progress") -> None:
        now_s = time.monotonic()
        if now_s - self.shown_s < self.every_s:
            return
        self.shown_s = now_s
        line = _line(progress)
        if self.is_terminal:
            print(f"\r{line:{self.width}}", end="", file=sys.stderr, flush=True)
            self.width = len(line)
        else:
            print(line, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the terminal's line empty."""
        if self.width:
            print(f"\r{'':{self.width}}\r", end="", file=sys.stderr, flush=True)


def _line(progress: "Progress") -> str:
    from mugrow.sweeps.display import duration

    done = f"{progress.doing} {progress.done_bytes / 1e6:,.1f}"
    if progress.all_bytes is None:
        return f"{done} MB"
    left = "" if progress.left_s is None else f", about {duration(progress.left_s)} left"
    share = progress.done_bytes / progress.all_bytes
    return f"{done} of {progress.all_bytes / 1e6:,.1f} MB ({share:.0%}){left}"
