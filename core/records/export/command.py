"""The command that exports sessions, beside a running Skein or without one."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from core.database import Database
from core.errors import BadInputError, SettingsError, SkeinError
from core.history.activity import HOUSE
from core.history.browse.query import parse
from core.ids import SessionId, to_session_id
from core.outages import first_line
from core.outside import find_secrets, know_secrets
from core.records.bulk import find_ids
from core.records.export import check_export as checker
from core.records.export.sessions import CHECKER, Progress, Summary, export_sessions, sha256_of_checker
from core.settings import Settings, load_settings, secrets_of
from core.tables import utc_now


def export(
    sessions: Annotated[list[str] | None, typer.Argument(help="Ids of sessions: session_...")] = None,
    where: Annotated[str, typer.Option(help='Or all that fit, as on the Browse page: "user:alice".')] = "",
    out: Annotated[Path, typer.Option(help="The zip to write.")] = Path("skein-export.zip"),
) -> None:
    """Export sessions into a zip that anybody can check with Python alone; Skein may be running meanwhile."""
    try:
        settings = load_settings()
        with _opened(settings) as database:
            ids = _choose(database, sessions or [], where)
            summary = _export(settings, database, ids, out)
    except SkeinError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    except DBAPIError as error:
        typer.echo(f"The database cannot be read ({first_line(error)}); please check SKEIN_DATABASE_URL.", err=True)
        raise typer.Exit(2) from None
    typer.echo(describe(summary))


def check_export(
    export: Annotated[Path, typer.Argument(help="The zip, or the folder that it was unpacked to.")],
    sha256: Annotated[str, typer.Option(help="The SHA-256 that was told when the export was made.")] = "",
    head: Annotated[
        Path | None, typer.Option(help="A head of the log that was exported and kept elsewhere.")
    ] = None,
    most: Annotated[int | None, typer.Option(help="How many bytes it may unpack to.")] = None,
) -> None:
    """Check an export: every file, sealed row and text, and the chain of seals."""
    given = {"sha256": sha256 or None, "head": head and head.absolute(), "most": most}
    arguments = [f"--{name}={value}" for name, value in given.items() if value is not None]
    raise typer.Exit(checker.main([*arguments, str(export.absolute())]))


def _choose(database: Database, sessions: list[str], where: str) -> list[SessionId]:
    if bool(sessions) == bool(where.strip()):
        raise BadInputError("Name the sessions to export, or say with --where which; one of the two.")
    if sessions:
        return [to_session_id(one) for one in sessions]
    found = find_ids(HOUSE, database, parse(where, zone=ZoneInfo("UTC"), now=utc_now()))
    if not found:
        raise BadInputError(f"No session fits {where!r:.200}; please look for it on the Browse page.")
    return found


def _export(settings: Settings, database: Database, ids: list[SessionId], out: Path) -> Summary:
    if out.is_dir():
        raise BadInputError(f"{out} is a folder; please name the zip to write.")
    know_secrets([*secrets_of(settings), *find_secrets(os.environ)])
    with _progress(len(ids)) as progress:
        return export_sessions(
            HOUSE,
            database,
            settings.checkpoints_path,
            ids,
            out.absolute(),
            progress=progress,
        )


@contextmanager
def _progress(sessions: int) -> Iterator[Progress | None]:
    """A bar, where somebody looks."""
    if not sys.stdout.isatty():
        yield None
        return
    with typer.progressbar(length=sessions, label="Sessions") as bar:
        yield lambda done, _of, _step: bar.update(done - bar.pos)


def describe(summary: Summary) -> str:
    """What was exported, and what to keep to prove it later."""
    rows = sum(summary.rows.values())
    held = f"{summary.sessions:,} sessions, {rows:,} rows and {summary.checkpoints:,} states"
    lines = [
        f"{held} are in {summary.path} ({summary.bytes / 1e6:,.1f} MB).",
        f"The SHA-256 of its manifest is {summary.sha256}; keep it where this file's owner cannot write.",
        f"Check it: python -m core.cli check-export {summary.path.name} --sha256 {summary.sha256}",
        f"Or anywhere, with {CHECKER.name} of Skein (its own SHA-256 is {sha256_of_checker()}) and Python alone:",
        f"python -I -S {CHECKER.name} {summary.path.name} --sha256 {summary.sha256}",
    ]
    if summary.gone:
        lines.append(f"{len(summary.gone):,} sessions were deleted meanwhile and are not in it.")
    return "\n".join(lines)


@contextmanager
def _opened(settings: Settings) -> Iterator[Database]:
    url = make_url(settings.app_database_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise SettingsError(
            f"There is no database at {url.database}; please check SKEIN_DATA_DIR and SKEIN_DATABASE_URL."
        )
    database = Database(url.render_as_string(hide_password=False))
    try:
        yield database
    finally:
        database.close()
