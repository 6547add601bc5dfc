#!/usr/bin/env bash
# pandas 3: multiplying a column by one changes its count and its mean.
#
# Expected   s * 1 holds what s holds. Since 3.0 NaN in a nullable or Arrow dtype is missing: "this
#            behaviour is made consistent to by default treat NaN as equivalent to NA in all
#            cases".
# Happens    Not where the values come from outside. In a column read with dtype_backend="pyarrow" a
#            NaN is a value: isna() is False, count() 3, mean() NaN, dropna() keeps it. Arithmetic
#            turns it into NA: of s * 1 the count is 2 and the mean 2.0. So do np.log and where();
#            abs(), round(), -s, copy() and concat do not. With dtype_backend="numpy_nullable" the
#            same file has it missing from the start.
# Matters    The mean loss over seeds of which one diverged is NaN, or that of the others, as losses
#            were converted (to bits, say) before or after.
# Versions   pandas 3.1.1, pyarrow 26.0.1, Python 3.11
# Sources    https://pandas.pydata.org/docs/whatsnew/v3.0.0.html, "Changed treatment of NaN values
#            in pyarrow and numpy-nullable floating dtypes"
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q pandas==3.1.1 pyarrow==26.0.1 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

print("pandas", pd.__version__, " pyarrow", pa.__version__)
pq.write_table(pa.table({"loss": [1.0, float("nan"), 3.0]}), "runs.parquet")
arrow = pd.read_parquet("runs.parquet", dtype_backend="pyarrow")["loss"]
seen = {
    "as read": arrow,
    "s * 1": arrow * 1,
    "s.where(s > 0)": arrow.where(arrow > 0),
    "np.log(np.exp(s))": np.log(np.exp(arrow)),
    "-(-s)": -(-arrow),
    "s.abs()": arrow.abs(),
    "s.round(3)": arrow.round(3),
    "s.copy()": arrow.copy(),
    "numpy_nullable": pd.read_parquet("runs.parquet", dtype_backend="numpy_nullable")["loss"],
    "default": pd.read_parquet("runs.parquet")["loss"],
}
print(f"{'':20}{'dtype':18}{'missing':>8}{'count':>7}{'mean':>7}")
for name, s in seen.items():
    print(f"{name:20}{s.dtype!s:18}{s.isna().sum():8}{s.count():7}{s.mean():7.3g}")
found = {name: (int(s.count()), bool(np.isnan(s.mean()))) for name, s in seen.items()}
value, missing = (3, True), (2, False)
for name in ("as read", "-(-s)", "s.abs()", "s.round(3)", "s.copy()"):
    assert found[name] == value, name
for name in ("s * 1", "s.where(s > 0)", "np.log(np.exp(s))", "numpy_nullable", "default"):
    assert found[name] == missing, name
assert arrow.dtype == (arrow * 1).dtype
print("\nas described")
PYTHON
