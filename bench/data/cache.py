"""Where what took long to fetch or to encode is kept between runs."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$MUGROW_CACHE``, else ``mugrow`` in ``$XDG_CACHE_HOME``, else in ``~/.cache``."""
    if chosen := os.environ.get("MUGROW_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mugrow"
