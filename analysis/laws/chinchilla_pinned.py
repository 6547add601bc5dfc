"""``L(N, D) = E + A / N^alpha + B / D^beta`` with the exponents given: three linear coefficients.

For few runs. Five free parameters on a dozen runs extrapolate ten times further with twice the
error of three, if the exponents are right; nothing in such a fit can say whether they are. Those of
Besiroglu et al. 2024 (arXiv 2404.10102), unless others are given. A coefficient that
non-negative least squares would set to 0 is reported as 0, ``bound_hit``.
"""

from dataclasses import replace

from mugrow.analysis.laws import chinchilla
from mugrow.analysis.laws.form import Form, Pointwise

assert isinstance(chinchilla.FORM.law, Pointwise)

FORM = Form(
    name="chinchilla_pinned",
    summary="E + A/N^alpha + B/D^beta with alpha and beta given",
    paper="exponents of Besiroglu et al. 2024, arXiv 2404.10102",
    variables=("n", "d"),
    params=("E", "A", "B", "alpha", "beta"),
    law=replace(chinchilla.FORM.law, fixed={"alpha": 0.34781, "beta": 0.36585}),
)
