"""What steps are fed: tokens and rates, both known before the steps are taken.

Batches are a function of (data seed, step) and schedules one of the step. So what many steps need
is worked out at once, and copied to the device at once; a step then takes its part of it there:

    begins_SUB     where the sequences of the next S steps begin, for each of U streams of batches
    streams_K      which of those streams a member has: those of one data seed share it
    factors_SK1    what the members' learning rates are multiplied by
    a batch        ids[begins_SUB[s] + (0 ... T)][streams_K]                       (K, B, T + 1)

Ids that lie on the device (``mugrow.bench.data.placed``) are gathered there, and nothing is copied
to it in a step. When members leave, what is left is worked out anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mugrow.bench import schedule
from mugrow.bench.data.batches import begins
from mugrow.bench.data.placed import DeviceTokens, HostTokens
from mugrow.bench.data_parallel import Ranks
from mugrow.bench.spec import RunSpec

MOST_STEPS = 256  # at once
MOST_BYTES = 1 << 20  # of their sequences' places


@dataclass(frozen=True, eq=False)
class Feed:
    """Of the steps from ``first`` on, as many as there are ``factors_SK1``."""

    first: int
    tokens: HostTokens | DeviceTokens
    context: int
    begins_SUB: Tensor
    streams_K: Tensor
    factors_SK1: Tensor

    def has(self, step: int) -> bool:
        """Whether it knows of a step."""
        return 0 <= step - self.first < len(self.factors_SK1)

    def batch(self, step: int) -> Tensor:
        """The tokens of a step and their last targets, ``(K, B, T + 1)``."""
        found_UBT = self.tokens.windows(self.begins_SUB[step - self.first], self.context)
        return found_UBT[self.streams_K]

    def factors_K1(self, step: int) -> Tensor:
        """What each member's learning rates are multiplied by at a step."""
        return self.factors_SK1[step - self.first]


def next_steps(
    specs: Sequence[RunSpec],
    step: int,
    tokens: HostTokens | DeviceTokens,
    weights_KP: Tensor,
    ranks: Ranks,
) -> Feed:
    """What the members of a stack are fed from this step on, of their sequences this rank's, in the
    type and on the device of their weights."""
    spec = specs[0]
    sequences, context = spec.batch_sequences, spec.model.context
    streams = list(dict.fromkeys((one.data_seed, one.first_batch) for one in specs))
    room = max(1, MOST_BYTES // (8 * len(streams) * sequences))
    steps = range(step, step + min(MOST_STEPS, room, spec.train_steps - step))
    ours = ranks.share(sequences)
    begins_SUB = [
        [
            begins(len(tokens), seed, first_batch + now, sequences, context)[ours]
            for seed, first_batch in streams
        ]
        for now in steps
    ]
    factors_SK = [[schedule.run_factor(one, now) for one in specs] for now in steps]
    which_K = [streams.index((one.data_seed, one.first_batch)) for one in specs]
    return Feed(
        first=step,
        tokens=tokens,
        context=context,
        begins_SUB=torch.from_numpy(np.array(begins_SUB)).to(tokens.asked_on),
        streams_K=torch.tensor(which_K, device=weights_KP.device),
        factors_SK1=torch.tensor(factors_SK, dtype=torch.float64).to(weights_KP)[:, :, None],
    )
