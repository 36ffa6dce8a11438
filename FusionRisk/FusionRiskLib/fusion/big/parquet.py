"""Parquet files: opened, checked, read in batches of some columns; their cells as a CSV would hold them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from CardioPrecisionLib.errors import InputError

from ...clinical.cells import refuse_formulas
from ..cohort_table import CellTable, refuse_twice

Array = np.ndarray[Any, Any]
_SUFFIXES = (".parquet", ".pq", ".parq")
_MAGIC = b"PAR1"
#: Bytes of a column that are read ahead: a file of one row group must not be read as a whole.
_BUFFER = 1 << 20


def is_parquet(path: str | Path) -> bool:
    """A Parquet file by its name or its first bytes, or a folder of such files."""
    path = Path(path)
    if path.is_dir():
        return any(path.glob("*.parquet"))
    if path.suffix.lower() in _SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


class ParquetTable:
    """A Parquet file, or a folder of files that hold the same columns, in the order of their names.

    Parameters
    ----------
    path : path

    Attributes
    ----------
    names : list of str
        Columns that can be read; those of lists, structures and bytes are in `unreadable`.
    rows : int

    Raises
    ------
    InputError
        It cannot be read, is empty, or its parts differ.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._files = _open(self.path)
        schema = self._files[0].schema_arrow
        refuse_twice(schema.names, self.path)
        for file in self._files[1:]:
            if file.schema_arrow.names != schema.names:
                raise InputError(f"{self.path}: the files of the folder do not hold the same columns.")
        self.types = {name: schema.field(name).type for name in schema.names}
        self.names = [name for name, kind in self.types.items() if _readable(kind)]
        self.unreadable = [name for name in self.types if name not in self.names]
        schemas = [file.schema_arrow for file in self._files]
        self._numbers = {name for name in schema.names if all(_number(one.field(name).type) for one in schemas)}
        self.rows = sum(file.metadata.num_rows for file in self._files)
        if not self.rows:
            raise InputError(f"{self.path}: the cohort is empty; it needs a row per patient.")

    @property
    def cells(self) -> int:
        return self.rows * len(self.types)

    def is_number(self, name: str) -> bool:
        """Whether a column holds numbers (not words, dates or yes and no) in every part."""
        return name in self._numbers

    def batches(self, names: Sequence[str], size: int) -> Iterator[tuple[int, list[Any]]]:
        """Number of the first row, and an Arrow array for each column, `size` rows at a time or fewer."""
        import pyarrow as pa

        start = 0
        for file in self._files:
            try:
                for batch in file.iter_batches(batch_size=size, columns=list(names), use_threads=True):
                    yield start, [batch.column(batch.schema.get_field_index(name)) for name in names]
                    start += batch.num_rows
            except (pa.ArrowException, OSError) as error:
                raise _damaged(self.path, error) from None


def _open(path: Path) -> list[Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError("Parquet needs pyarrow; pip install 'cardioprecision[parquet]'.") from None
    parts = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    try:
        return [pq.ParquetFile(part, buffer_size=_BUFFER) for part in parts]
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> InputError:
    if isinstance(error, OSError) and error.errno:
        return InputError(f"{path}: the file cannot be read ({error.strerror or 'input error'}).")
    return InputError(f"{path}: this is no Parquet table, or it is damaged; write it anew, or give a CSV.")


def _number(kind: Any) -> bool:
    import pyarrow.types as t

    return bool(t.is_integer(kind) or t.is_floating(kind) or t.is_decimal(kind))


def _readable(kind: Any) -> bool:
    import pyarrow.types as t

    if t.is_dictionary(kind):
        return _readable(kind.value_type)
    words = t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind) or t.is_null(kind)
    return bool(_number(kind) or words or t.is_boolean(kind) or t.is_date(kind) or t.is_timestamp(kind))


# -- values -----------------------------------------------------------------------------------------------------------
def numbers_of(array: Any) -> Array:
    """``(rows,)`` float64 of an Arrow array of numbers, NaN for null."""
    import pyarrow as pa

    if pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    if pa.types.is_integer(array.type) and not array.null_count:
        return np.asarray(array.to_numpy(zero_copy_only=False).astype(np.float64))
    return np.asarray(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))


def words_of(array: Any) -> tuple[Array, list[str]]:
    """An Arrow array as ``(rows,)`` places in a list of different cells, each as a CSV would hold it."""
    import pyarrow as pa

    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    words = [_cell(value) for value in array.dictionary.to_pylist()] + [""]
    return np.asarray(array.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False)), words


def _cell(value: Any) -> str:
    """A value as its cell would be written."""
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (datetime, date)):
        return value.isoformat()[:10]
    if isinstance(value, (int, str)):
        return str(value)
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def read_cells_of(path: Path) -> CellTable:
    """A small table as the cells that a CSV of it would hold; `big.WHOLE_CELLS` is the limit.

    Raises
    ------
    InputError
        As of `ParquetTable`; it is too large; or a cell holds a formula.
    """
    from . import WHOLE_CELLS

    table = ParquetTable(path)
    if table.cells > WHOLE_CELLS:
        raise InputError(
            f"{path}: {table.rows} rows x {len(table.types)} columns are too many to be read as a whole; "
            "draw patients with --sample, or give a smaller table."
        )
    cells: dict[str, list[str]] = {name: [] for name in table.names}
    for _, arrays in table.batches(table.names, 65_536):
        for name, array in zip(table.names, arrays, strict=True):
            code, words = words_of(array)
            cells[name] += [words[i] for i in code]
    made = CellTable(path, table.names, range(1, table.rows + 1), cells, "row")
    for name in table.names:
        refuse_formulas(name, made.cells[name], made.place)
    return made
