#!/usr/bin/env python3
"""Check an export of Skein: every file, every sealed row, every text of a call, and the chain of seals.

    python -I -S check_export.py [EXPORT.zip or its folder] [--sha256 HEX] [--head exported-head.json]

It needs Python 3.9 or newer and nothing else: no network, no package, not Skein. It writes nothing. Take it from
Skein, never from the export that it is to check: docs/check_export.sha256 has its SHA-256. It says "The export
holds", exit code 0, or names the first thing that does not, exit code 1; code 2 is a question it cannot answer. It
shows nothing of an export that a terminal would obey, and unpacks no more than is usual, or than --most allows.
Invariant: nothing in an export is believed because the export says so, but for manifest.json; that is
believed if its SHA-256 is the one that was told when the export was made (--sha256). Which columns a sealed row has
is never asked of the export: this file says it.

What is recomputed: seal after seal, its hash, its list of rows, and the link to the one before, up to the head;
the digest of each row of llm_call, cost_correction and activity against that list; each call's texts against
its body_hash; each artifact's file against its version; then the names, sizes and SHA-256 of all files.
"""

from __future__ import annotations

import argparse
import base64
import copy
import hashlib
import io
import json
import re
import struct
import sys
import zipfile
import zlib
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FORMAT, VERSION = "skein.export", 1
MANIFEST, SEALS = "manifest.json", "seals.jsonl"
CALLS, BODIES, VERSIONS = "llm_call", "llm_call_body", "artifact_version"
ID_BYTES, ENTRY_BYTES = 31, 63
NAMES = {"llm_call": "call", "cost_correction": "correction", "activity": "activity"}
PREFIXES = {"llm_call": "call_", "cost_correction": "fix_", "activity": "act_"}
# The columns of version 1 in the order of their digest, each with its kind where it is not text. Tables with others
# are another version.
_COLUMNS_1 = {
    "llm_call": """
        call_id run_id parent_run_id created_at:time ended_at:time user_id session_id conversation_id message_id
        thread_id checkpoint_ns agent_id agent_key node step:whole operation provider base_url model response_model
        response_id request_id temperature:number top_p:number max_tokens:whole params:json streamed:flag status
        error_type error_message http_status:whole finish_reason attempt:whole queue_ms:number ttft_ms:number
        duration_ms:number input_tokens:whole output_tokens:whole cache_read_tokens:whole cache_write_tokens:whole
        reasoning_tokens:whole usage_source cost_usd:number price_id cost_source key_source context_compacted:flag
        attributed:flag tags:json body_hash
    """,
    "cost_correction": """
        correction_id call_id created_at:time created_by cost_before:number cost_usd:number price_id cost_source
        reason
    """,
    "activity": "activity_id created_at:time user_id login_id kind target_id session_id detail:json",
}
COLUMNS = {
    table: [(one.partition(":")[0], one.partition(":")[2] or "text") for one in columns.split()]
    for table, columns in _COLUMNS_1.items()
}
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - Python 3.9 has no other name for it
_CHUNK = 1 << 20
# An export that is packed more tightly than this, and is not small, was made to fill a disk.
_MOST_TIMES, _NOT_LARGE = 100, 64_000_000
_LONGEST_TOLD = 300
_PLAIN_FILE = 0o100644 << 16
_SHA256 = re.compile("[0-9a-f]{64}")
_UNREADABLE = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    RuntimeError,
    EOFError,
    OSError,
    NotImplementedError,
    MemoryError,
    zipfile.LargeZipFile,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def shown(text: str) -> str:
    """A text in one line that a terminal only shows: no control, no colour, no other direction, not too long."""
    plain = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text[: 4 * _LONGEST_TOLD])
    return plain if len(plain) <= _LONGEST_TOLD else plain[:_LONGEST_TOLD] + " [...]"


class _TellingError(Exception):
    def __init__(self, sentence: str) -> None:
        super().__init__(shown(sentence))


class BrokenError(_TellingError):
    """The first thing that does not hold, in one sentence."""


class CannotTellError(_TellingError):
    """What was asked cannot be answered from this export."""


class Sealed(NamedTuple):
    """What a seal has of one row."""

    seal_id: str
    digest: bytes


# -- where the export is --------------------------------------------------------------------------------


class Folder:
    """An export that was unpacked."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        found = (one for one in self._path.rglob("*") if one.is_symlink() or not one.is_dir())
        return sorted(one.relative_to(self._path).as_posix() for one in found)

    def open(self, name: str) -> BinaryIO:
        path = self._path / name
        if path.is_symlink() or not path.is_file():
            raise BrokenError(f"{name} is no plain file.")
        return path.open("rb")


class _Bounded(io.RawIOBase):
    """A file in a zip, read no further than the zip says that it goes."""

    def __init__(self, file: BinaryIO, name: str, most: int) -> None:
        self._file, self._name, self._left = file, name, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise BrokenError(f"{self._name} was changed: it unpacks to more than it says.")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


class Archive:
    """An export as it is handed over: a zip that holds its files and nothing beside them."""

    def __init__(self, path: Path, most: int | None = None) -> None:
        self._path = path
        self._most = most
        try:
            self._zip = zipfile.ZipFile(path)
        except _UNREADABLE as error:
            raise BrokenError(f"{path.name} is no zip that can be read ({error}); it was cut or changed.") from None

    def names(self) -> list[str]:
        entries = self._zip.infolist()
        names = sorted(one.filename for one in entries)
        twice = next((one for one, other in zip(names, names[1:]) if one == other), None)  # noqa: B905, RUF007
        if twice is not None:
            raise BrokenError(f"{twice} is in the zip twice: one of the two was put there.")
        for one in entries:
            if not _is_plain(one):
                raise BrokenError(f"{one.filename} is no plain file within the export: it was put there.")
        self._look_between(sorted(entries, key=lambda one: one.header_offset))
        self._look_at_size(entries)
        return names

    def _look_at_size(self, entries: list[zipfile.ZipInfo]) -> None:
        size = self._path.stat().st_size
        most = self._most if self._most is not None else max(_NOT_LARGE, _MOST_TIMES * size)
        unpacked = sum(one.file_size for one in entries)
        if unpacked > most:
            raise CannotTellError(
                f"This zip of {size:,} bytes unpacks to {unpacked:,}, which is more than is read unasked: if you "
                f"expect so much, give --most {unpacked}."
            )

    def open(self, name: str) -> BinaryIO:
        try:
            most = self._zip.getinfo(name).file_size
            return io.BufferedReader(_Bounded(self._zip.open(name), name, most), _CHUNK)  # type: ignore[arg-type]
        except _UNREADABLE as error:
            raise BrokenError(f"{name} was changed: it cannot be unpacked ({error}).") from None

    def _look_between(self, entries: list[zipfile.ZipInfo]) -> None:
        """Nothing stands before, between or behind the files, and all say what the first one says of itself."""
        begins, at = [], 0
        with self._path.open("rb") as file:
            for one in entries:
                file.seek(at)
                header = _header(one)
                if file.read(len(header)) != header or _said(one) != _said(entries[0]) or not _is_packed(one):
                    raise BrokenError(f"The zip was changed at {one.filename}: its entry is not as it was written.")
                begins.append(at)
                at += len(header) + one.compress_size
            end = _end_of_zip(entries, begins, at)
            file.seek(at)
            rest = file.read(len(end) + 1)
        if rest != end:
            raise BrokenError("The zip was changed: there is something in it beside its files.")


def _is_plain(one: zipfile.ZipInfo) -> bool:
    """Whether an entry is a file, no link and no folder, and unpacks below the place it is unpacked to."""
    parts = one.filename.split("/")
    outside = any(part in ("", ".", "..") for part in parts) or "\\" in one.filename or ":" in parts[0]
    return not outside and one.filename.isprintable() and one.external_attr == _PLAIN_FILE


def _is_packed(one: zipfile.ZipInfo) -> bool:
    return one.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def _is_large(one: zipfile.ZipInfo) -> bool:
    """Whether its sizes stand in the longer form: they are believed nowhere, since its header must say the same."""
    return max(one.file_size, one.compress_size) > zipfile.ZIP64_LIMIT


def _said(one: zipfile.ZipInfo) -> tuple[Any, ...]:
    """What an entry says beside name, size and checksum: every one the same."""
    flags = one.flag_bits & ~0x800  # set where a name is not ASCII
    more = (one.comment, one.create_system, one.volume, one.reserved)
    return (one.date_time, one.external_attr, one.internal_attr, flags, *more)


def _header(one: zipfile.ZipInfo) -> bytes:
    """What stands before a file."""
    plain = copy.copy(one)
    plain.extra, plain.extract_version = b"", zipfile.DEFAULT_VERSION
    return plain.FileHeader(zip64=_is_large(one))


def _listed(one: zipfile.ZipInfo, begin: int) -> bytes:
    """What stands of a file in the directory at the end."""
    header = _header(one)
    name = header[30 : 30 + int.from_bytes(header[26:28], "little")]
    long = [one.file_size, one.compress_size] if _is_large(one) else []
    if begin > zipfile.ZIP64_LIMIT:
        long, begin = [*long, begin], 0xFFFFFFFF
    extra = struct.pack(f"<2H{len(long)}Q", 1, 8 * len(long), *long) if long else b""
    needs = zipfile.ZIP64_VERSION if long else zipfile.DEFAULT_VERSION
    # Flags, packing, moment, checksum and sizes stand there as they stand before the file.
    about = b"PK\x01\x02" + bytes((needs, one.create_system, needs, one.reserved)) + header[6:28]
    where = struct.pack("<4H2L", len(extra), 0, 0, one.internal_attr, one.external_attr, begin)
    return about + where + name + extra


def _end_of_zip(entries: list[zipfile.ZipInfo], begins: list[int], at: int) -> bytes:
    """How a zip of these entries ends: its directory, and where that is."""
    listed = b"".join(_listed(one, begin) for one, begin in zip(entries, begins))  # noqa: B905
    many, size, end = len(entries), len(listed), b""
    if many > zipfile.ZIP_FILECOUNT_LIMIT or max(at, size) > zipfile.ZIP64_LIMIT:
        end = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, many, many, size, at)
        end += struct.pack("<4sLQL", b"PK\x06\x07", 0, at + size, 1)
    many, size, at = min(many, 0xFFFF), min(size, 0xFFFFFFFF), min(at, 0xFFFFFFFF)
    return listed + end + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, many, many, size, at, 0)


# -- what is in it --------------------------------------------------------------------------------------


class Check:
    """One walk through an export; what it has counted is for the report."""

    def __init__(self, bundle: Folder | Archive, sha256: str | None = None) -> None:
        self._bundle = bundle
        self._expected = sha256
        self._sealed: dict[str, Sealed] = {}
        self._awaited: dict[str, str] = {}
        self._body_hashes: dict[str, str | None] = {}
        self.manifest_sha256 = ""
        self.manifest: dict[str, Any] = {}
        self.seals: dict[str, str] = {}
        self.rows = self.texts = self.files = self.unsealed = 0

    def run(self) -> None:
        """Everything, from the most exact to the most general; BrokenError names the first that does not hold."""
        names = self._bundle.names()
        self._names = frozenset(names)
        self._read_manifest(names)
        self._check_names(names)
        self._check_seals()
        for table in NAMES:
            self._check_table(table)
        if self._awaited:
            row_id, seal_id = next(iter(self._awaited.items()))
            raise BrokenError(f"The row {row_id} was removed: seal {seal_id} has it as a part of this export.")
        self._check_texts()
        self._check_artifacts()
        self._check_files()

    def _read_manifest(self, names: list[str]) -> None:
        if MANIFEST not in names:
            raise BrokenError(f"There is no {MANIFEST}: it was removed, or this is no export of Skein.")
        try:
            with self._bundle.open(MANIFEST) as file:
                text = file.read()
        except _UNREADABLE as error:
            raise BrokenError(f"{MANIFEST} was changed: it cannot be unpacked ({error}).") from None
        self.manifest_sha256 = hashlib.sha256(text).hexdigest()
        if self._expected is not None and self.manifest_sha256 != self._expected:
            raise BrokenError(f"{MANIFEST} was changed: its SHA-256 is {self.manifest_sha256}.")
        try:
            self.manifest = json.loads(text)
            known = self.manifest["format"] == FORMAT
        except _UNREADABLE:
            raise BrokenError(f"{MANIFEST} was changed: it is not the JSON that an export has.") from None
        if not known:
            raise BrokenError(f"{MANIFEST} is not that of an export of Skein.")
        if self.manifest.get("version") != VERSION:
            raise CannotTellError("This export is of another version; use the one of the Skein that made it.")
        if self.manifest.get("sealed") != {table: [list(one) for one in form] for table, form in COLUMNS.items()}:
            raise BrokenError(f"{MANIFEST} was changed: it names other columns than the sealed tables have.")

    def _check_names(self, names: list[str]) -> None:
        listed = [str(one["path"]) for one in self.manifest["files"]]
        more, fewer = set(names) - {*listed, MANIFEST}, set(listed) - set(names)
        if more:
            raise BrokenError(f"{min(more)} was added: {MANIFEST} does not list it.")
        if fewer:
            raise BrokenError(f"{min(fewer)} was removed: {MANIFEST} lists it.")
        if len(set(listed)) != len(listed):
            raise BrokenError(f"{MANIFEST} was changed: it lists a file twice.")

    def _lines(self, name: str) -> Iterator[tuple[int, Any]]:
        try:
            with self._bundle.open(name) as file:
                for number, line in enumerate(file, start=1):
                    yield number, json.loads(line)
        except _UNREADABLE as error:
            raise BrokenError(f"{name} was changed: what it holds cannot be read ({error}).") from None

    # -- seals ------------------------------------------------------------------------------------------

    def _check_seals(self) -> None:
        before: dict[str, Any] | None = None
        for number, seal in self._lines(SEALS):
            try:
                self._check_seal(seal, before)
            except _UNREADABLE:
                raise BrokenError(f"Line {number} of {SEALS} was changed: it is no seal any more.") from None
            before = seal
        head = self.manifest["seals"]["head"]
        found = None if before is None else {name: before[name] for name in ("seal_id", "hash", "sealed_at")}
        if head != found or len(self.seals) != self.manifest["seals"]["count"]:
            raise BrokenError(f"{SEALS} does not end with the head that {MANIFEST} names: seals were removed.")

    def _check_seal(self, seal: dict[str, Any], before: dict[str, Any] | None) -> None:
        seal_id = seal["seal_id"]
        said = [seal[name] for name in ("prev_hash", "seal_id", "rows_hash", "first_call_id", "last_call_id")]
        if _hash("\n".join([*said, str(_micros(seal["sealed_at"]))]).encode("utf-8", "ignore")) != seal["hash"]:
            raise BrokenError(f"Seal {seal_id} was changed: its hash does not fit what it says.")
        if before is not None and (seal["prev_hash"], True) != (before["hash"], seal_id > before["seal_id"]):
            raise BrokenError(
                f"The chain is broken between seal {before['seal_id']} and seal {seal_id}: a seal was removed "
                "there, or put there."
            )
        self.seals[seal_id] = seal["hash"]
        if seal["manifest"] is None:
            if seal["rows"]:
                raise BrokenError(f"The list of rows of seal {seal_id} was removed.")
            return
        manifest = base64.b64decode(seal["manifest"], validate=True)
        if _hash(manifest) != seal["rows_hash"] or len(manifest) % ENTRY_BYTES:
            raise BrokenError(f"Seal {seal_id} was changed: its list of rows is not the one it was made with.")
        for at in range(0, len(manifest), ENTRY_BYTES):
            row_id = manifest[at : at + ID_BYTES].decode("ascii").rstrip()
            self._sealed[row_id] = Sealed(seal_id, manifest[at + ID_BYTES : at + ENTRY_BYTES])
        for row_id in seal["rows"]:
            if row_id not in self._sealed:
                raise BrokenError(f"Seal {seal_id} was changed: it has no row {row_id}.")
            self._awaited[row_id] = seal_id

    # -- rows -------------------------------------------------------------------------------------------

    def _check_table(self, table: str) -> None:
        path, form = f"tables/{table}.jsonl", COLUMNS[table]
        without, seen = set(self.manifest["unsealed"].get(table, ())), 0
        for number, row in self._lines(path):
            try:
                row_id = row[form[0][0]]
                self._check_row(table, row_id, row, form, is_unsealed=row_id in without)
                if table == CALLS:
                    self._body_hashes[row_id] = row["body_hash"]
            except _UNREADABLE:
                raise BrokenError(f"Line {number} of {path} was changed: it is no row of {table}.") from None
            seen += 1
        if seen != self.manifest["tables"][table]["rows"]:
            raise BrokenError(f"{path} has {seen:,} rows, not {self.manifest['tables'][table]['rows']:,}.")

    def _check_row(self, table: str, row_id: str, row: dict[str, Any], form: Any, *, is_unsealed: bool) -> None:
        sealed, name = self._sealed.get(row_id), f"{NAMES[table]} {row_id}"
        if not row_id.startswith(PREFIXES[table]):
            raise BrokenError(f"{row_id} is no id of a row of {table}: it was changed.")
        if is_unsealed:
            self.unsealed += 1
            return
        if sealed is None or self._awaited.pop(row_id, None) is None:
            raise BrokenError(f"The row of {name} is in the export, but no seal has it so: it was put there.")
        if _digest_if_any(row, form) != sealed.digest:
            raise BrokenError(f"The row of {name} was changed after seal {sealed.seal_id} was made.")
        self.rows += 1

    def _check_texts(self) -> None:
        for number, row in self._lines(f"tables/{BODIES}.jsonl"):
            try:
                call_id, texts = row["call_id"], (row["prompt"], row["response"], row["tools"])
                wanted = self._body_hashes.pop(call_id)
                if hash_texts(row["salt"], texts) == wanted:
                    self.texts += 1
                elif texts != (None, None, None):
                    raise BrokenError(f"The texts of call {call_id} were changed after its seal was made.")
            except _UNREADABLE:
                where = f"Line {number} of tables/{BODIES}.jsonl"
                raise BrokenError(f"{where} was changed, or added: it fits no call of this export.") from None

    def _check_artifacts(self) -> None:
        for number, row in self._lines(f"tables/{VERSIONS}.jsonl"):
            try:
                path, wanted = row["file"], row["hash"]
                if path not in self._names:
                    raise KeyError(path)
                if _hash_file(self._bundle.open(path))[0] != wanted:
                    name = f"{row['artifact_id']}@{row['version']}"
                    raise BrokenError(f"{path}, the file of artifact {name}, is not what its version says.")
            except _UNREADABLE:
                where = f"Line {number} of tables/{VERSIONS}.jsonl"
                raise BrokenError(f"{where} was changed: the file it names cannot be read.") from None

    def _check_files(self) -> None:
        for one in self.manifest["files"]:
            try:
                found = _hash_file(self._bundle.open(one["path"]))
            except _UNREADABLE as error:
                raise BrokenError(f"{one['path']} was changed: it cannot be unpacked ({error}).") from None
            if found != (one["sha256"], one["bytes"]):
                raise BrokenError(f"{one['path']} was changed: {MANIFEST} has another SHA-256 for it.")
            self.files += 1

    # -- a head that was kept elsewhere -----------------------------------------------------------------

    def compare_head(self, text: str) -> str:
        """Whether the chain passes by this head, in one sentence; BrokenError when it does not."""
        try:
            head = json.loads(text)
            seal_id, wanted = str(head["seal_id"]), str(head["hash"])
        except _UNREADABLE:
            raise CannotTellError("The file given with --head is no exported head of the log.") from None
        first, last = (min(self.seals), max(self.seals)) if self.seals else ("", "")
        if first <= seal_id <= last:
            if self.seals.get(seal_id) != wanted:
                raise BrokenError(f"The chain was made anew: the exported head {seal_id} is not on it as it was.")
            return shown(f"The exported head {seal_id} is on its chain.")
        side = "older than the first" if seal_id < first else "newer than the last"
        raise CannotTellError(f"The exported head {seal_id} is {side} seal here, so the two cannot be compared.")


def digest_of(row: dict[str, Any], form: Any) -> bytes:
    """The digest of a row, as its seal has it: SHA-256 of its values as a JSON list, in the table's order."""
    if set(row) != {name for name, _ in form}:
        raise ValueError("other columns")
    values = [None if row[name] is None else _FIXES[kind](row[name]) for name, kind in form]
    while values and values[-1] is None:
        values.pop()
    return hashlib.sha256(_to_json(values).encode("utf-8", "ignore")).digest()


def _digest_if_any(row: dict[str, Any], form: Any) -> bytes | None:
    """The digest, or None where a value is not of its column's kind, as it was when the row was sealed."""
    try:
        return digest_of(row, form)
    except _UNREADABLE:
        return None


def hash_texts(salt: str, texts: tuple[str | None, ...]) -> str:
    """A call's body_hash; a missing text differs from an empty one."""
    digest = hashlib.sha256()
    for part in (salt, *texts):
        if part is None:
            digest.update(b"-")
            continue
        kept = part.encode("utf-8", "ignore")
        digest.update(b"%d:" % len(kept))
        digest.update(kept)
    return digest.hexdigest()


def _micros(text: str) -> int:
    since = datetime.fromisoformat(text.replace("Z", "+00:00")) - _EPOCH  # noqa: FURB162 - as Python 3.9 reads it
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _to_json(value: Any, *, sort_keys: bool = False) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys)


def _json_text(value: Any) -> str:
    return _to_json(value, sort_keys=True).encode("utf-8", "ignore").decode("utf-8")


def _only(*kinds: type) -> Callable[[Any], Any]:
    """The value if it is of one of these kinds itself: true is no number, and 1.5 is nothing whole."""

    def fix(value: Any) -> Any:
        if type(value) not in kinds:
            raise TypeError("of another kind")
        return value

    return fix


def _number(value: Any) -> float:
    number = float(_only(int, float)(value)) + 0.0
    if number != value:
        raise ValueError("no number that a row can hold")
    return number


_FIXES: dict[str, Callable[[Any], Any]] = {
    "time": _micros,
    "number": _number,
    "whole": _only(int),
    "flag": lambda value: int(_only(bool)(value)),
    "json": _json_text,
    "text": _only(str),
}


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _hash_file(file: BinaryIO) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


# -- the command ----------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Check what the command line names; gives the exit code."""
    parser = argparse.ArgumentParser(description="Check an export of Skein; it needs only Python.")
    parser.add_argument("export", type=Path, help="the zip, or its folder")
    parser.add_argument("--sha256", help="the SHA-256 that was told when the export was made")
    parser.add_argument("--head", type=Path, help="a head of the log that was exported and kept elsewhere")
    parser.add_argument("--most", type=int, help="how many bytes it may unpack to, if more than is read unasked")
    given = parser.parse_args(arguments)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # what its letters cannot show is written out
    try:
        print(check(given.export, given.sha256, given.head, given.most))
    except BrokenError as broken:
        print(f"The export does not hold. {broken}")
        return 1
    except CannotTellError as question:
        print(question)
        return 2
    except Exception as error:  # noqa: BLE001 - whatever was made to trip it up, it says so and goes
        print(f"The export does not hold. It cannot be read: {shown(f'{type(error).__name__}: {error}')}.")
        return 1
    return 0


def check(path: Path, sha256: str | None = None, head: Path | None = None, most: int | None = None) -> str:
    """What to say of an export that holds; BrokenError or CannotTellError otherwise."""
    if not path.exists():
        raise CannotTellError(f"There is no file or folder {path}.")
    if sha256 is not None:
        sha256 = sha256.strip().lower()
        if not _SHA256.fullmatch(sha256):
            raise CannotTellError("What was given with --sha256 is no SHA-256: that has 64 digits from 0 to f.")
    walk = Check(Folder(path) if path.is_dir() else Archive(path, most), sha256)
    try:
        walk.run()
    except _UNREADABLE:
        raise BrokenError(f"{MANIFEST} was changed: it lacks what an export's has.") from None
    held = (
        f"The export holds: {walk.files:,} files are as they were written; {walk.rows:,} rows are as they were "
        f"sealed ({walk.unsealed:,} had no seal yet), the texts of {walk.texts:,} calls fit their rows, and "
        f"{len(walk.seals):,} seals are one chain."
    )
    lines = [held]
    if head is not None:
        try:
            lines.append(walk.compare_head(head.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError):
            raise CannotTellError(f"The file {head} cannot be read.") from None
    lines.append(_tell_of_manifest(walk.manifest_sha256, was_compared=sha256 is not None))
    return "\n".join(lines)


def _tell_of_manifest(sha256: str, *, was_compared: bool) -> str:
    if was_compared:
        return f"The SHA-256 of {MANIFEST} is {sha256}: the one that was told."
    return (
        f"{MANIFEST} itself was not compared with a number kept elsewhere, so whoever can write this export could "
        f"have made all of it anew. Its SHA-256 is {sha256}: give the one that was told with --sha256."
    )


if __name__ == "__main__":
    sys.exit(main())
