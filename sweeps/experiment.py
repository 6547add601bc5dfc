"""What is executed: which runs there are, given those that have ended, and what it is called."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from mugrow.bench.spec import DataSpec
from mugrow.sweeps.imported import plan_imported
from mugrow.sweeps.plan import Plan, plan
from mugrow.sweeps.search import Finished
from mugrow.sweeps.stack_size import Gpus
from mugrow.sweeps.study import STACK_WIDTH, Study

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True)
class Experiment:
    """What is executed: ``plan`` says which runs there are, given the rows of those that have
    ended, and ``configuration`` what ``study.json`` holds; ``defaults`` is what one means that was
    written before a setting existed. ``most`` plans all runs that it may come to, where that
    depends on losses; None where it does not."""

    name: str
    configuration: Mapping[str, Any]
    plan: Callable[[Finished], Plan]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    most: Callable[[Finished], Plan] | None = None


def of_study(study: Study, data: DataSpec, gpus: Gpus | None = None) -> Experiment:
    """The experiment of a study on a corpus that is pinned by ``data``, on these GPUs if it is.
    Without a ladder nothing is compared, so it has neither budgets nor final evaluations."""
    if study.source:
        return Experiment(
            name=study.name,
            configuration=_configuration(study, data),
            plan=partial(plan_imported, study, data, gpus=gpus),
            defaults=_defaults(study),
        )
    if not study.ladder:
        study = replace(study, budgets=(), front=(), final_val_tokens=0)
    return Experiment(
        name=study.name,
        configuration=_configuration(study, data),
        plan=partial(plan, study, data, gpus=gpus),
        defaults=_defaults(study),
        most=partial(plan, study, data, most=True, gpus=gpus),
    )


def _configuration(study: Study, data: DataSpec) -> dict[str, Any]:
    """What ``study.json`` holds: the same whatever the study trains on."""
    stated = replace(study, stack_width=study.stack_width or STACK_WIDTH)
    return asdict(stated) | {"corpus_sha256": data.corpus_sha256}


def _defaults(config: "DataclassInstance") -> dict[str, Any]:
    """The settings that have a default, at it; of what is nested likewise."""
    found: dict[str, Any] = {}
    for setting in fields(config):
        value = getattr(config, setting.name)
        if is_dataclass(value) and not isinstance(value, type):
            found[setting.name] = _defaults(value)
        elif setting.default is not MISSING:
            found[setting.name] = setting.default
    if isinstance(config, Study):
        found["stack_width"] = STACK_WIDTH
    return found
