"""Studies beside each other, as a page: who ends lowest, at what charge, and all curves in one."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import cycle
from pathlib import Path

from mugrow.analysis import words as fmt
from mugrow.analysis.measure.across import Across, AcrossArm
from mugrow.analysis.read.plain import to_json
from mugrow.analysis.read.store import Store
from mugrow.analysis.report import build, charts, glossary, page
from mugrow.analysis.report.table import Table
from mugrow.bench.record import write_json

SAID = {
    "better": "below", "worse": "above", "undecided": "undecided", "not measured": "not compared",
}  # fmt: skip


def build_across(found: Across, stores: Mapping[str, Store], folder: Path) -> Path:
    """Write the page of a comparison into ``folder``, with its table as LaTeX and ``compare.json``
    with every number; returns the page."""
    write_json(folder / "compare.json", to_json(found))
    listed = table(found)
    build.write_tables([listed], folder / "tables")
    text = page.rendered(
        "across.html.j2",
        title=" and ".join(found.studies),
        reference=found.reference,
        targets={
            target: [_line(arm) for arm in found.arms if arm.target == target]
            for target in found.targets
        },
        left_out=found.left_out,
        explained=glossary.explained(
            [f"{arm.label} {arm.target}" for arm in found.arms],
            [method for store in stores.values() for method in store.runs["method"]],
            [name for store in stores.values() for name in store.runs["parametrization"]],
        ),
        table=listed,
        charts={"curves": curves(stores)},
    )
    written = folder / "index.html"
    build.write_text(written, text)
    return written


def curves(stores: Mapping[str, Store]) -> charts.Chart:
    """The loss curves of all studies in one chart; a line is named with its study, whose dash it
    has."""
    whole = [(name, charts.curves(store)) for name, store in stores.items()]
    series = [
        replace(one, name=f"{one.name} · {name}", group=f"{one.group} · {name}", dash=dash)
        for (name, chart), dash in zip(whole, cycle(charts.DASHES), strict=False)
        for one in chart.series
    ]
    first = {panel: place for place, panel in enumerate(dict.fromkeys(s.panel for s in series))}
    series.sort(key=lambda one: first[one.panel])
    return replace(whole[0][1], series=tuple(series))


def table(found: Across) -> Table:
    """Every arm of every shared target."""
    return Table(
        "across",
        "Final losses of all studies",
        "Mean over seeds with 95 % intervals. The difference from the reference is paired by seed; "
        "below and above are by a paired test at 5 %, corrected over the arms of a target (Holm); "
        "an arm that is some seeds of another arm is not compared, and does not count. "
        "Charged are FLOPs with the source's, which differ between arms: what an arm is worth at "
        "equal compute is in its study's report.",
        ("target", "study", "method", "final loss (nats)", "charged", "minus the reference (nats)",
         "verdict"),
        tuple(
            (arm.target, ", ".join((arm.study, *arm.also)), arm.label,
             fmt.interval(arm.loss, fmt.loss), fmt.flops(arm.charge),
             fmt.interval(arm.minus_reference, fmt.loss),
             "the reference" if arm.is_reference else SAID[arm.verdict])
            for arm in found.arms
        ),
    )  # fmt: skip


def _line(arm: AcrossArm) -> dict[str, str]:
    return {
        "kind": "none" if arm.is_reference else arm.verdict.replace(" ", "-"),
        "said": "the reference" if arm.is_reference else SAID[arm.verdict],
        "label": arm.label,
        "study": ", ".join((arm.study, *arm.also)),
        "loss": fmt.interval(arm.loss, fmt.loss),
        "difference": "" if arm.is_reference else fmt.interval(arm.minus_reference, fmt.loss),
    }
