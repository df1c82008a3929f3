"""The zip of an export in the making: what comes in rows gathers beside it, and all else goes straight in.

Invariant: the manifest is written last and names every other file with its size and SHA-256; the zip holds nothing
but those files, every entry written the same way, so that the checker can tell whether something was put between.
"""

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from core.records.export.rows import Row
from core.tables import canonical_json

MANIFEST = "manifest.json"
_CHUNK = 1 << 20
_PARQUET_ROWS = 2_000
_PARQUET_BYTES = 1_000_000
_TYPES = {
    "time": pa.timestamp("us", "UTC"),
    "number": pa.float64(),
    "flag": pa.bool_(),
    "whole": pa.int64(),
    "json": pa.string(),
    "text": pa.string(),
}
# Parquet and pictures are compressed as they are.
_STORED = (".parquet", ".png", ".jpg", ".webp", ".gif")


class Lines:
    """A file of lines that grows beside the zip."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")
        self.count = 0

    def write(self, line: bytes) -> None:
        """Add one line, its end included."""
        self._file.write(line)
        self.count += 1

    def close(self) -> None:
        self._file.close()


class TableFiles:
    """A table as JSON lines and as Parquet at once; the latter in groups, since small ones cost more than rows."""

    def __init__(self, folder: Path, name: str, columns: Iterable[tuple[str, str]]) -> None:
        self.lines = Lines(folder / f"{name}.jsonl")
        self.parquet_path = folder / f"{name}.parquet"
        self._columns = list(columns)
        schema = pa.schema([(column, _TYPES[kind]) for column, kind in self._columns])
        self._parquet = pq.ParquetWriter(self.parquet_path, schema, compression="zstd")
        self._schema = schema
        self._waiting: list[Row] = []
        self._waiting_bytes = 0

    def write(self, row: Row, line: bytes) -> None:
        """Add one row, and the line that it is."""
        self.lines.write(line)
        self._waiting.append(row)
        self._waiting_bytes += len(line)
        if len(self._waiting) >= _PARQUET_ROWS or self._waiting_bytes >= _PARQUET_BYTES:
            self._flush()

    def close(self) -> None:
        self._flush()
        self.lines.close()
        self._parquet.close()

    def _flush(self) -> None:
        if self._waiting:
            arrays = [
                pa.array([_CELLS.get(kind, _as_is)(row[name]) for row in self._waiting], _TYPES[kind])
                for name, kind in self._columns
            ]
            self._parquet.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self._waiting, self._waiting_bytes = [], 0


def _as_is(value: Any) -> Any:
    return value


def _time_cell(value: Any) -> Any:
    """A moment; what was put in its place by somebody is in the lines as it is, and missing here."""
    try:
        return datetime.fromisoformat(value)
    except (ValueError, TypeError):
        return None


def _number_cell(value: Any) -> Any:
    return value if isinstance(value, (int, float)) else None


_CELLS: dict[str, Callable[[Any], Any]] = {
    "time": _time_cell,
    "json": lambda value: None if value is None else canonical_json(value),
    "text": lambda value: None if value is None else str(value),
    "number": _number_cell,
    "whole": _number_cell,
    "flag": lambda value: value if isinstance(value, bool) else None,
}


class Bundle:
    """The zip itself; ``finish`` writes the manifest and gives its SHA-256."""

    def __init__(self, path: Path, folder: Path, *, made_at: datetime) -> None:
        self._folder = folder
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
        self._date = made_at.astimezone(UTC).timetuple()[:6]
        self.files: list[Row] = []

    def open_table(self, name: str, columns: Iterable[tuple[str, str]]) -> TableFiles:
        return TableFiles(self._folder, name, columns)

    def open_lines(self, name: str) -> Lines:
        return Lines(self._folder / name)

    def add(self, name: str, content: bytes) -> None:
        """Put a whole file in."""
        with self._open(name, len(content)) as file:
            file.write(content)
        self._list(name, len(content), hashlib.sha256(content).hexdigest())

    def add_file(self, name: str, path: Path) -> None:
        """Put a file in that has gathered beside the zip."""
        digest = hashlib.sha256()
        with self._open(name, path.stat().st_size) as file, path.open("rb") as source:
            for chunk in iter(lambda: source.read(_CHUNK), b""):
                digest.update(chunk)
                file.write(chunk)
        self._list(name, path.stat().st_size, digest.hexdigest())
        path.unlink()

    def finish(self, manifest: Row) -> str:
        """Write the manifest over all that is there and close the zip; gives the manifest's SHA-256."""
        files = sorted(self.files, key=lambda one: str(one["path"]))
        text = (json.dumps({**manifest, "files": files}, ensure_ascii=False, indent=1) + "\n").encode()
        with self._open(MANIFEST, len(text)) as file:
            file.write(text)
        self._zip.close()
        return hashlib.sha256(text).hexdigest()

    def close(self) -> None:
        """Let go of the file, finished or not; a second time is a no-op."""
        self._zip.close()

    def _list(self, name: str, size: int, digest: str) -> None:
        self.files.append({"path": name, "bytes": size, "sha256": digest})

    def _open(self, name: str, size: int) -> BinaryIO:
        info = zipfile.ZipInfo(name, self._date)
        info.compress_type = zipfile.ZIP_STORED if name.endswith(_STORED) else zipfile.ZIP_DEFLATED
        info.create_system, info.external_attr = 3, 0o100644 << 16
        return self._zip.open(info, "w", force_zip64=size > zipfile.ZIP64_LIMIT)  # type: ignore[return-value]
