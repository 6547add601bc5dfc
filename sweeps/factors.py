"""The factors of a paper's committed runs, from its recipe: ``python -m mugrow.sweeps.factors``.

A run's id hashes its spec, in which a corpus is named by its sha256. So a paper can be planned
again without its corpora, by the names and hashes that its committed rows have, and the plan meets
the rows by run id. What a recipe comes to say of its arms' factors is so written into tables that
were made before; nothing else of them changes.

    python -m mugrow.sweeps.factors gstack      # one paper
    python -m mugrow.sweeps.factors             # all
"""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mugrow.bench.arm import factors_json
from mugrow.bench.record import RUN_SCHEMA, write_tables
from mugrow.sweeps.paper import Paper, experiment, looks_of, setting_of
from mugrow.sweeps.plan import PlannedRun

COMMITTED = Path("results/reference/papers")


def planned(paper: Paper, folder: Path) -> dict[str, PlannedRun]:
    """By run id, the runs of a paper as its recipe now plans those in ``folder``."""
    from mugrow.analysis.read.store import load

    store = load(folder)
    looks = looks_of(store.study)
    seeds = dict.fromkeys(paper.figures, looks.seeds[-1] if looks else 0)
    plan = experiment(paper, setting_of(paper, store), paper.figures, seeds).plan({})
    return {run.spec.run_id: run for run in plan.runs}


def write_factors(paper: Paper, folder: Path) -> int:
    """Fill the column ``factors`` of a paper's ``runs.parquet``; returns how many rows have any.
    Raises ``KeyError`` for a row that the recipe does not plan, and fails where it calls one
    otherwise than the table."""
    path = folder / "runs.parquet"
    table, runs = pq.read_table(path), planned(paper, folder)
    selected = [runs[run_id] for run_id in table["run_id"].to_pylist()]
    assert [run.arm for run in selected] == table["arm"].to_pylist(), f"{paper.name}: names of arms"
    kept = table.drop_columns(["factors"]) if "factors" in table.column_names else table
    factors = [factors_json(run.arm) for run in selected]
    column = RUN_SCHEMA.field("factors")
    filled = kept.append_column(column, pa.array(factors, column.type))
    write_tables(folder, {path.name: filled})
    return sum(one is not None for one in factors)


def main(names: list[str]) -> None:
    from mugrow.sweeps.recipes.papers import PAPERS, paper

    for name in names or PAPERS:
        print(f"{name}: {write_factors(paper(name), COMMITTED / name)} rows with factors")


if __name__ == "__main__":
    main(sys.argv[1:])
