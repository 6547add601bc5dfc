"""What it cost to find a learning rate, against what it would have cost at the target.

    search   FLOPs of all runs of the proxy's sweep / FLOPs of one run of the target
    total    (proxy's sweep + source + target) / (target's own sweep + target)

Below 1, ``total`` says that transferring was cheaper. A sweep's FLOPs hold every learning rate and
seed, diverged and pruned ones too, so both ratios fall with the seeds that were searched with. Of
grown models the target's own sweep is the one from scratch.

With equal grids ``total`` tends to 0 as targets grow, however the learning rate behaves. It is a
price, not a quality: what it buys is the regret.
"""

import math
from dataclasses import dataclass

from mugrow.analysis.transfer.ladder import Ladder


@dataclass(frozen=True)
class SearchCost:
    """Ratios of FLOPs, None where the store lacks a part."""

    search: float | None
    total: float | None


def cost(ladder: Ladder, target: int, proxy: int | None) -> SearchCost:
    """Of the rung ``target`` at the best rate of ``proxy``, both places on the ladder, or of the
    ladder's reference."""
    rung = ladder.rungs[target]
    if proxy is not None:
        search, source, there = ladder.rungs[proxy].search_flops, 0.0, rung.search_flops
    elif rung.source is not None:
        twins = [
            one for one in ladder.relation if (one.width, one.depth) == (rung.width, rung.depth)
        ]
        search, source = rung.source.flops_tuning, rung.source.flops
        there = twins[0].search_flops if twins else math.nan
    else:
        return SearchCost(None, None)
    total = (search + source + rung.run_flops) / (there + rung.run_flops)
    return SearchCost(_known(search / rung.run_flops), _known(total))


def _known(ratio: float) -> float | None:
    return ratio if math.isfinite(ratio) else None
