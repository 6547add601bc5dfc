"""The final evaluation: a trained model's loss on much text, block by block.

A curve is validated on little text, since it is validated often. All seeds share that text, so an
interval over seeds says nothing about it: what two models differ by varies from one 16 KB block to
the next by about 0.007 nats, as much as the differences that are looked for. So what runs are
compared by is measured once more when they have ended, on ``final_val_tokens`` tokens, and kept for
each of ``BLOCKS`` blocks: text is then a second thing that was drawn (``mugrow.analysis.stats``,
crossed factors), as seeds are.

Windows are spread evenly over the held-out documents, and a block is a stretch of them in a row, so
blocks are of different documents where those are short enough.
"""

import numpy as np
import numpy.typing as npt

from mugrow.bench.data.batches import Tokens, val_windows

BLOCKS = 16


def final_windows(val: Tokens, context: int, tokens: int) -> npt.NDArray[np.int64]:
    """Shape (BLOCKS, windows, context + 1): of the held-out stream ``val``, at most ``tokens``
    targets, as many in each block. Raises ``UserError`` where a block would have no window."""
    whole = val_windows(val, context, tokens // (context * BLOCKS) * context * BLOCKS)
    return whole.reshape(BLOCKS, -1, context + 1)
