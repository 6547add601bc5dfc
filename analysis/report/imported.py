"""What a report says of a study whose source was imported: there is no scratch, and why.

Its configuration has ``source``, the checkpoint's name and the sha256 of its weights. Each arm is
compared with that source trained on, and a verdict is about that alone.
"""

from mugrow.analysis import words as fmt
from mugrow.analysis.measure.comparison import BASELINES, Baseline
from mugrow.analysis.read.store import Store
from mugrow.analysis.summary import Summary

QUESTION = (
    "What is it worth to grow a model that exists, over training that model on with the same "
    "compute?"
)


def is_imported(store: Store) -> bool:
    """Whether the study grows a published checkpoint."""
    return bool(store.study.get("source"))


def compared_with(store: Store) -> tuple[Baseline, ...]:
    """What the answer is about: without scratch, the source trained on."""
    return ("own source",) if is_imported(store) else BASELINES


def no_scratch(store: Store) -> str:
    """What is not there, with the reason, and what the source is charged."""
    name, _, sha256 = str(store.study["source"]).rpartition("@")
    cost = store.study.get("source_flops")
    charged = "sunk" if cost is None else f"charged {fmt.flops(float(cost))}"
    return (
        f"Nothing is trained from scratch: the source is the imported {name} (sha256 of its "
        f"weights {sha256[:16]}…), whose pretraining no study here could repeat; it is {charged}. "
        "So there is no saving over scratch and no transfer of a rate: every arm has a rate of its "
        "own, tuned with as many trials, and has to beat the source trained on."
    )


def tuning(summary: Summary) -> str:
    """What tuning cost, which no arm is charged."""
    spent = fmt.flops(summary.costs.proxy_flops)
    return f"Tuning cost {spent}, as many trials for each arm, which none of them is charged."


def one_source(store: Store) -> str:
    """What an interval over seeds is about; nothing where sources differ by seed."""
    if not is_imported(store):
        return ""
    return (
        "Seeds draw the order of batches and what growth draws; the source is one for all of them, "
        "so intervals are about this source, not about another checkpoint or another healing."
    )
