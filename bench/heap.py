"""What a process does with memory that a training step has freed: it keeps it for the next one.

A step makes some hundred tensors of up to a few megabytes and frees them again. What is free at
the end of its heap glibc gives back to the system, and pieces above a limit too, which it adapts to
what has been freed. The next step gets that anew, in pages of 4 KB that the system fills with zeros
when each is touched first: at width 64 some 340 to 760 of them a step, about a tenth of its time.
With ``mallopt`` freed memory stays with the process, which has about what it had at its largest.
"""

import ctypes
import sys
from functools import lru_cache

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3  # as malloc.h numbers them
KEPT_BYTES, GROWN_BYTES = 1 << 29, 1 << 26
LARGE_BYTES = 1 << 25  # the most that glibc takes


@lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Have this process keep up to 512 MB of free memory, and grow its heap 64 MB at a time, with
    pieces below 32 MB in it. Whether its C library can be told so; nothing happens where not."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    told = {TRIM_THRESHOLD: KEPT_BYTES, TOP_PAD: GROWN_BYTES, MMAP_THRESHOLD: LARGE_BYTES}
    taken = [mallopt(what, size) == 1 for what, size in told.items()]
    return all(taken)
