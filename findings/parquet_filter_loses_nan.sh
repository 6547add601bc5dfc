#!/usr/bin/env bash
# pyarrow: whether a filter finds a NaN depends on what else is in the column, and a filtered count
# is not the number of filtered rows.
#
# Expected   pq.read_table(file, filters=e), dataset.count_rows(filter=e) and table.filter(e) agree
#            for every expression e. parquet.thrift (ColumnOrder) says of floating-point statistics:
#            "When looking for NaN values, min and max should be ignored."
# Happens    A row group's smallest and largest value, which know nothing of NaN, are taken to hold
#            for every row. In a column of 3, 3, NaN, 3 the filter is_nan finds one row in memory
#            and none in the file; in one of 1, 2, NaN, 4 it finds it in both, but ~(x < 10) does
#            not. And count_rows(x < 10) is 4, while the same filter reads 3 rows. A file written without
#            statistics, or by write_table(..., write_statistics=False), is read right.
# Matters    Diverged runs are NaN rows: "everything that did not get below 10" leaves them out.
# Versions   pyarrow 26.0.1, polars 2.1.0 (which reads the same files right), Python 3.11
# Sources    https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
#            https://arrow.apache.org/docs/python/generated/pyarrow.parquet.read_table.html
#            https://github.com/apache/arrow/issues/28074 (closed as mended) and 34162 (open)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q pyarrow==26.0.1 polars==2.1.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

print("pyarrow", pa.__version__, " polars", pl.__version__)
x, nan = pc.field("x"), float("nan")
asked = {"is_nan(x)": pc.is_nan(x), "x != 3": x != 3, "~(x < 10)": ~(x < 10), "x < 10": x < 10}
in_polars = {
    "is_nan(x)": pl.col("x").is_nan(),
    "x != 3": pl.col("x") != 3,
    "~(x < 10)": ~(pl.col("x") < 10),
    "x < 10": pl.col("x") < 10,
}
seen = {}
for column in ([3.0, 3.0, nan, 3.0], [1.0, 2.0, nan, 4.0]):
    table = pa.table({"x": column})
    pq.write_table(table, "with.parquet")
    pq.write_table(table, "without.parquet", write_statistics=False)
    print(f"\n{column}\n{'filter':12}memory  file  file without statistics  count_rows  polars")
    for name, e in asked.items():
        rows = (
            table.filter(e).num_rows,
            pq.read_table("with.parquet", filters=e).num_rows,
            pq.read_table("without.parquet", filters=e).num_rows,
            ds.dataset("with.parquet").count_rows(filter=e),
            pl.scan_parquet("with.parquet").filter(in_polars[name]).collect().height,
        )
        seen[column[0], name] = rows
        print(f"{name:12}{rows[0]:6}{rows[1]:6}{rows[2]:25}{rows[3]:12}{rows[4]:8}")
assert seen[3.0, "is_nan(x)"] == (1, 0, 1, 0, 1)
assert seen[3.0, "x != 3"] == (1, 0, 1, 0, 1)
assert seen[1.0, "is_nan(x)"] == (1, 1, 1, 1, 1)
assert seen[1.0, "~(x < 10)"] == (1, 0, 1, 0, 1)
assert seen[1.0, "x < 10"] == (3, 3, 3, 4, 3)
print("\nas described")
PYTHON
