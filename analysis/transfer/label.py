"""Labels: what tells a setting from the others beside it, and nothing more.

Of each field that differs among the settings, the commonest value goes unsaid: beside six plain
ladders the seventh is ``tied``, and none of the six is ``not tied``. Two settings never share a
label, since where they differ at most one of them has the commonest value. A field that follows
another, as the base's does the model's, is said once. Of a method's parameters those are said that
differ among the settings that have them, whatever their value.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from mugrow.analysis.transfer.sweep import MODULES, Setting
from mugrow.bench.spec import Scalar

WORDS = {
    "data.corpus_sha256": "corpus",
    "hyper.init_std": "init std",
    "schedule.kind": "schedule",
    "steps": "token budget (steps)",
    "batch_sequences": "batch",
    "start.method": "method",
    "start.optimizer": "optimizer",
}
PARAMS = "start.params."


def named(key: str) -> str:
    """A field in words: ``model.head_size`` is ``head size``."""
    if key in WORDS:
        return WORDS[key]
    if key.startswith(MODULES):
        return key.removeprefix(MODULES)
    if key.startswith("source."):
        return f"source's {named(key.removeprefix('source.'))}"
    return key.rpartition(".")[2].replace("_", " ")


def variants(settings: Sequence[Setting], without: Collection[str] = ()) -> list[str]:
    """A label for each setting; ``without`` are fields that the reader is told of anyway. A setting
    like most others has the label ``""``."""
    keys = {key for setting in settings for key in setting}
    values = {key: [setting.get(key) for setting in settings] for key in sorted(keys)}
    differing = [
        key
        for key, tried in values.items()
        if key not in without and _differs(key, tried) and not _follows(key, values)
    ]
    usual = {key: Counter(values[key]).most_common(1)[0][0] for key in differing}
    return [
        ", ".join(filter(None, (
            _said(key, setting.get(key)) for key in differing
            if setting.get(key) != usual[key] or key.startswith(PARAMS)
        )))
        for setting in settings
    ]  # fmt: skip


def _differs(key: str, values: Sequence[Scalar | None]) -> bool:
    given = [value for value in values if value is not None] if key.startswith(PARAMS) else values
    return len(set(given)) > 1


def _follows(key: str, values: Mapping[str, list[Scalar | None]]) -> bool:
    """Whether a field of the base or the source is decided by the model's or the run's own."""
    field = key.removeprefix("source.")
    leader = field.replace("base.", "model.") if field.startswith("base.") else field
    if leader == key or leader not in values:
        return False
    return len(set(zip(values[leader], values[key], strict=True))) == len(set(values[leader]))


def _said(key: str, value: Scalar | None) -> str:
    if value is None:
        return ""
    word = named(key).partition(" (")[0]
    if isinstance(value, bool):
        return word if value else f"not {word}"
    if key.endswith("sha256"):
        return f"{word} {str(value)[:8]}"
    if key.startswith(MODULES) and isinstance(value, float):
        return f"{word} {value:.3g}"  # powers of 2 to a quarter are told apart
    return f"{word} {value}"
