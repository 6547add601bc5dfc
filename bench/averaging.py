"""Averages of the weights along a run: a better model at every moment, at no training cost.

With w_t the weights after step t = 1, 2, ... of a run, and w_0 those it begins with:

    swa   a_t = mean of w_s over the steps s of t's window, one of (0, h], (h, 2h], ...
    ema   a_t = d a_{t-1} + (1 - d) w_t,  a_0 = w_0

SWA (Izmailov et al., arXiv 1803.05407) is evaluated where a window is whole, as Hägele et al.
(arXiv 2405.18392) do along a constant learning rate, with h = 500. At a constant rate weights
wander about the valley that a cool-down would let them fall into, and the mean of the wanderings
lies deeper than any of them. The average is only looked at: training goes on from w_t, so a run has
the same curve with and without it.
"""

from torch import Tensor

from mugrow.bench.spec import AverageSpec


def update(average: AverageSpec, average_KP: Tensor, weights_KP: Tensor, step: int) -> None:
    """Take the weights after ``step`` (from 1) into the average, in place."""
    if average.kind == "swa":
        average_KP.lerp_(weights_KP, 1 / ((step - 1) % average.window + 1))
    else:
        average_KP.lerp_(weights_KP, 1 - average.decay)


def is_whole(average: AverageSpec, step: int) -> bool:
    """Whether the average after ``step`` is one to evaluate."""
    return step > 0 and (average.kind == "ema" or step % average.window == 0)
