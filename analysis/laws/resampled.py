"""The law of each resample of runs by itself, for a decision that is more than a percentile.

``fit`` gives intervals of what it knows. A decision of one's own (a saving, a break-even) needs the
parameters of every resample, and needs to know which resamples have none: one that happened to draw
no grown run says nothing of growing, although the minimiser, started at the optimum of all rows,
stays there. So each resample is judged as a fit of its own would be, on the rows that it drew.
"""

from collections.abc import Mapping, Sequence

import numpy.typing as npt

from mugrow.analysis.laws.form import Form, Options, Pointwise
from mugrow.analysis.laws.minimise import Minima, minimise
from mugrow.analysis.laws.points import check_options, check_points
from mugrow.analysis.laws.problem import state_problem
from mugrow.analysis.laws.resample import draw_counts
from mugrow.analysis.laws.status import cannot, judge


def resampled_params(
    form: Form,
    points: Mapping[str, npt.ArrayLike],
    optimum: Mapping[str, float],
    *,
    groups: Sequence[object],
    resamples: int,
    seed: int = 0,
    fixed: Mapping[str, float] | None = None,
) -> list[Mapping[str, float]]:
    """Parameters of each resample of ``groups``, empty where it has none; for a ``Pointwise`` form.

    ``points`` and the options are those of ``fit``, ``optimum`` the parameters that it found.
    """
    law = form.law
    assert isinstance(law, Pointwise)
    options = Options(groups=groups, fixed=fixed or {})
    columns = check_points(form, points)
    check_options(form, law, options, len(columns["loss"]))
    problem = state_problem(form, law, columns, options)
    begin = problem.given_starts({name: [optimum[name]] for name in form.params})
    counts = draw_counts(problem.empty.n_groups, resamples, seed)
    found = minimise(problem.objective, begin.repeat(resamples, axis=0), counts, problem.groups)
    params: list[Mapping[str, float]] = []
    for i, count in enumerate(counts):
        drawn, one = problem.of_rows(count[problem.groups] > 0), slice(i, i + 1)
        end = Minima(found.theta[one], found.value[one], found.converged[one])
        params.append({} if cannot(drawn, begin) else judge(drawn, end)[2])
    return params
