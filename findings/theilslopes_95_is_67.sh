#!/usr/bin/env bash
# SciPy: theilslopes gives a "95 %" interval of three points that holds the slope in two of three
# cases, and says nothing.
#
# Expected   A slope's interval of three points is very wide, infinite, or nan with a warning, as
#            scipy.stats.quantile_test has nan for an interval that so few values cannot give. The
#            documentation: "alpha: Confidence degree between 0 and 1. Default is 95% confidence."
# Happens    The interval is from the smallest to the largest of the three pairwise slopes. It
#            misses the true one whenever the residuals rise, or fall, from point to point: 2 orders of 6,
#            whatever their distribution. So it holds it with probability 2/3, at any alpha. (Of
#            four points it is 92 %, from five on it holds what it says.)
# Matters    A slope over three widths, depths or budgets is what a cheap scaling study has.
# Versions   scipy 1.17.1, numpy 2.4.6, Python 3.11
# Sources    https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.theilslopes.html
#            https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.quantile_test.html
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q scipy==1.17.1 numpy==2.4.6
venv/bin/python -W error - <<'PYTHON'
import numpy as np
import scipy
from scipy import stats

print("scipy", scipy.__version__, " numpy", np.__version__)
rng = np.random.default_rng(0)
draws = 4000
covered = {}
print(f"{'points':>6}{'alpha':>7}{'covered':>9}   of {draws}; the true slope is 0")
for points, alpha in ((3, 0.9), (3, 0.95), (3, 0.99), (4, 0.95), (5, 0.95), (8, 0.95)):
    x, hits = np.arange(points), 0
    for _ in range(draws):
        result = stats.theilslopes(rng.normal(size=points), x, alpha=alpha)
        hits += result.low_slope <= 0 <= result.high_slope
    covered[points, alpha] = hits / draws
    print(f"{points:6}{alpha:7}{hits / draws:9.3f}")
three = stats.quantile_test([1.0, 2.0, 3.0], q=2.0, p=0.5).confidence_interval(0.95)
print("quantile_test's interval of the median of three:", tuple(three))
for alpha in (0.9, 0.95, 0.99):
    assert abs(covered[3, alpha] - 2 / 3) < 0.03
assert covered[5, 0.95] > 0.94
assert np.isnan(three).all()
print("\nas described")
PYTHON
