"""A first-order Markov source over 64 symbols whose entropy is known exactly: a floor for losses.

From every symbol the next one is drawn with the probabilities ``c / 4096``, where the counts ``c``
fall like the square of the successor's rank (Zipf) and each symbol ranks its successors in an
order of its own. No model can have a lower expected loss than the conditional entropy

    h = -sum_j p_j ln p_j        nats per token,

and as every row of the matrix holds the same numbers, h is the same after every symbol: the
stationary distribution, which the entropy rate of a Markov chain is in general averaged over
(Cover & Thomas, Elements of Information Theory, theorem 4.2.4), drops out.

The probabilities are whole multiples of 1/4096, so a symbol is drawn exactly, from 12 random bits
and a table, and the chain is the same on every machine.
"""

import numpy as np
import numpy.typing as npt

SYMBOLS = 64
DRAWS = 4096
SEED = 2203
TRAIN_TOKENS = 2**21
VAL_TOKENS = 2**18


def successor_counts() -> npt.NDArray[np.int64]:
    """How many of the 4096 equally likely draws give the successor of rank 1, 2, …, 64."""
    counts = 1 + 2400 // np.arange(1, SYMBOLS + 1) ** 2  # the 1 leaves no transition impossible
    counts[0] += DRAWS - counts.sum()
    return counts


def transition_matrix() -> npt.NDArray[np.float64]:
    """Shape (64, 64): row i holds the probabilities of the symbol that follows symbol i."""
    matrix = np.empty((SYMBOLS, SYMBOLS))
    np.put_along_axis(matrix, _successors(), successor_counts()[None] / DRAWS, axis=1)
    return matrix


def entropy_rate() -> float:
    """The lowest expected loss that any model can have, in nats per token."""
    p = successor_counts() / DRAWS
    return float(-(p * np.log(p)).sum())


def cross_entropy(tokens: npt.NDArray[np.integer]) -> float:
    """The source's own mean loss on a sample, in nats per token: the floor at finite size.

    ``tokens`` has shape (..., n); all but the first along the last axis are scored, as a model's
    loss on windows of n - 1 targets is.
    """
    return float(-np.log(transition_matrix()[tokens[..., :-1], tokens[..., 1:]]).mean())


def chain(length: int, stream: int) -> npt.NDArray[np.uint16]:
    """Shape (length,): one unbroken walk of the source; another ``stream`` is independent."""
    table = np.repeat(_successors(), successor_counts(), axis=1).astype(np.uint8).tobytes()
    draws = np.random.Philox(key=np.array([SEED, stream])).random_raw(length) >> np.uint64(52)
    symbols, symbol = bytearray(length), 0
    for position, draw in enumerate(draws.tolist()):
        symbols[position] = symbol = table[symbol * DRAWS + draw]
    return np.frombuffer(symbols, np.uint8).astype(np.uint16)


def _successors() -> npt.NDArray[np.int64]:
    """Shape (64, 64): row i lists the symbols by how likely they follow symbol i.

    From raw bits, whose stream NumPy guarantees for ever; that of its other draws it does not.
    """
    bits = np.random.Philox(key=SEED).random_raw(SYMBOLS**2)
    return np.argsort(bits.reshape(SYMBOLS, SYMBOLS), axis=1, kind="stable")
