"""A Parquet file of which only those columns are read that a question is about.

Such a file stores columns one by one, so that what is not read costs nothing. Read are

    keys           columns that tell runs apart: each value once, and of every row its number
    expressions    columns that are computed with: as floats, which they would become anyway
    others         texts, which may be names, and columns with a few values in their first rows:
                   a row's loss may be of one or the other of them (``mugrow.analysis.read.runs``)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mugrow.analysis.read import cells
from mugrow.analysis.read.dialects import has_dialect
from mugrow.analysis.read.expression import names_in
from mugrow.analysis.read.formats import PARQUET, Raw, of_arrow
from mugrow.bench.spec import UserError

ROWS = 1 << 17  # at a time
KEY_ROWS = 1 << 20  # the same of keys, whose values are held for each
Rows = npt.NDArray[np.signedinteger]


@dataclass(frozen=True)
class Reading:
    """What is asked of a table: ``keys`` are columns by which rows are grouped, ``expressions``
    columns or arithmetic on columns."""

    keys: Sequence[str]
    expressions: Sequence[str]


def read_columns(path: Path, reading: Reading) -> Raw | None:
    """What is asked of a file; ``None`` where it is no Parquet file, has not all of the columns, or
    may be a dialect, whose columns are others. Raises what its library raises."""
    with path.open("rb") as file:
        if file.read(4) != b"PAR1":
            return None
    schema = pq.read_schema(path)
    names = [str(name) for name in schema.names]
    if len(set(names)) < len(names) or has_dialect(names):
        return None
    empty = pd.DataFrame(columns=names)
    try:
        computed, keys = (
            {name for one in asked for name in names_in(empty, one)}
            for asked in (reading.expressions, reading.keys)
        )
    except UserError:
        return None
    texts = {name for name in names if _is_text(schema.field(name).type)}
    with pq.ParquetFile(path, read_dictionary=list(texts), buffer_size=1 << 20) as stored:
        others = [name for name in names if name not in computed | keys | texts]
        few = {name for name in others if cells.has_few(_first(stored, name))}
        columns: dict[str, pd.Series] = {}
        for name in names:
            if name in computed | keys | texts | few:
                found = (_numbers if name in computed else _each_once)(stored, name)
                if found is None:  # as it stands
                    found = of_arrow(stored.read(columns=[name]).column(0))
                columns[name] = found
                pa.default_memory_pool().release_unused()
    return Raw(pd.DataFrame(columns, copy=False), PARQUET)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _first(stored: pq.ParquetFile, name: str) -> pd.Series:
    """The first rows of a column."""
    batches = stored.iter_batches(cells.LOOKED_AT, columns=[name])
    return of_arrow(pa.chunked_array([batch.column(0) for batch in islice(batches, 1)] or [[]]))


def _numbers(stored: pq.ParquetFile, name: str) -> pd.Series | None:
    """A column to be computed with as floats, a part at a time; None where not all are numbers, or
    some say NaN, which is not the same as nothing."""
    kind = stored.schema_arrow.field(name).type
    if not _is_number(kind):
        return None
    values = np.empty(stored.metadata.num_rows)
    filled = 0
    for batch in stored.iter_batches(ROWS, columns=[name]):
        part = batch.column(0)
        if pa.types.is_floating(kind) and pc.any(pc.is_nan(part)).as_py():
            return None
        values[filled : filled + len(part)] = part.to_numpy(zero_copy_only=False)
        filled += len(part)
    return pd.Series(values, copy=False)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _each_once(stored: pq.ParquetFile, name: str) -> pd.Series | None:
    """A column to be told apart by: each value once, a part of the rows at a time. None for values
    that are not finite, texts that are numbers, and what is neither."""
    kind = stored.schema_arrow.field(name).type
    is_text = pa.types.is_dictionary(kind)
    if not (is_text or _is_number(kind)):
        return None
    parts: list[Rows] = []
    dictionaries: list[pa.Array] = []
    for batch in stored.iter_batches(KEY_ROWS, columns=[name]):
        part = batch.column(0)
        if not is_text:
            if part.null_count or not pc.all(pc.is_finite(part)).as_py():
                return None
            part = part.dictionary_encode()
        dictionaries.append(part.dictionary)
        parts.append(_numbers_of(part.indices, len(part.dictionary)))
    if not parts:
        return None
    found = pa.concat_arrays(dictionaries).dictionary_encode()
    values = found.dictionary
    if is_text and cells.parse(str(one) for one in values).wrong is None:
        return None
    ours = np.split(_numbers_of(found.indices, len(values)), np.cumsum([*map(len, dictionaries)]))
    none = ours[0].dtype.type(-1)
    numbers = np.concatenate([
        np.append(numbers, none)[part] for numbers, part in zip(ours[:-1], parts, strict=True)
    ])  # fmt: skip
    return pd.Series(pd.Categorical.from_codes(numbers, pd.Index(values.to_pandas())), copy=False)


def _numbers_of(indices: pa.Array, values: int) -> Rows:
    """The numbers of so many values, in the type that takes the fewest bytes; -1 for none."""
    kind = np.min_scalar_type(-max(values, 1))
    found: Rows = indices.fill_null(-1).to_numpy().astype(kind)
    return found
