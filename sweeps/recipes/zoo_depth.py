"""Three operators in depth with more seeds: does any save compute, where ``zoo`` cannot say?

    mugrow run zoo-depth --corpus PATH/TO/TEXT.parquet

The target, source and training of ``zoo``, at the rate of this study's own sweep, for three
operators in depth: stacking, msg and composable expansion. Five seeds, so that a difference of 0.02
nats is decided, and three arms that share the error of 5 %.
"""

from dataclasses import replace

from mugrow.sweeps.recipes import zoo
from mugrow.sweeps.study import Method, Step, Study


def study() -> Study:
    return replace(
        zoo.study(),
        name="zoo-depth",
        title="Three operators in depth, with five seeds",
        question="Does growing in depth save compute at width 32 and depth 4?",
        seeds=(0, 1, 2, 3, 4),
        ladder=(Step(32, 2, 32, 4),),
        methods=(Method("scratch"), Method("stack"), Method("msg"), Method("composable")),
    )
