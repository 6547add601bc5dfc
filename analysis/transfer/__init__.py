"""Do the hyperparameters transfer? From sweeps over the learning rate to verdicts on ladders.

    optimum     where one sweep's loss is lowest
    shape       where the bowls of a ladder are, if they are of one uneven shape
    sweep       the sweeps of a store, from rows: runs equal in everything but learning rate, seed
    ladder      sweeps equal in everything but one axis: width, depth, tokens, batch; or grown
    label       what tells a ladder from the others of its store
    metrics     shift, drift, regret, curvature, with intervals over paired seeds
    cost        what the search cost, and what regret is worth in compute
    asymptote   what a ladder says of sizes beyond it
    operator_setting, operator_regret
                a growth method's own parameter, varied at several growths, and what it costs to
                keep the value that was best at the smallest
    verdict     transfers, drifts, inconclusive or censored, by a rule fixed beforehand
    results     all of it, for a store

A hyperparameter transfers if the base learning rate that is best for the proxy is best for the
larger model. Three numbers say so, because none alone does (Yang et al. 2203.03466; Kalra and
Barkeshli 2605.21486): how far the optimum moves, what that costs, and whether the loss reached is
any good.
"""

from mugrow.analysis.transfer.optimum import Edge, Optimum, optimum

__all__ = ["Edge", "Optimum", "optimum"]
