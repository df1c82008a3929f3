"""Commands for what is kept: doctor, backup, restore, retention rules, erasing a person.

Invariant: what cannot be undone shows first what it will touch, and asks, unless ``--yes`` is given; whatever goes
wrong is one sentence and exit code 2.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from core.access.viewer import Viewer
from core.database import Database, table_of
from core.errors import ForbiddenError, NotFoundError, SkeinError
from core.history.activity import HOUSE
from core.ids import RetentionId, UserId, to_retention_id
from core.outages import first_line
from core.private import list_open_to_others, raise_file_limit, tabs_for
from core.records import backup as backups
from core.records import doctor as doctors
from core.records import retention as rules
from core.records.doctor.house import open_house
from core.records.erasure import erase_user as erase
from core.records.erasure import preview_erasure
from core.settings import Settings, load_settings
from core.tables import User

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Look after what Skein keeps.")
retention = typer.Typer(no_args_is_help=True, help="Rules for what becomes of sessions that nobody uses any more.")
app.add_typer(retention, name="retention")
_MOST_IDS = 20
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command()
def doctor(
    mend: Annotated[bool, typer.Option(help="Mend what can be mended.")] = False,
    kind: Annotated[list[str] | None, typer.Option(help="Look only for this kind of finding.")] = None,
) -> None:
    """Find what the stores, and what is counted of them, disagree on; exit code 1 when something is left.

    It may run beside an open Skein.
    """
    with _sentences(), open_house(_settings()) as house:
        if mend:
            for found in doctors.mend(house, kinds=kind or ()):
                typer.echo(f"{'Mended' if found.mendable else 'Found'}: {_describe(found)}")
        with typer.progressbar(length=len(doctors.CHECKS), label="Looking") as bar:
            left = doctors.examine(house, kinds=kind or (), progress=lambda _at, _of: bar.update(1))
    for found in left:
        typer.echo(_describe(found))
    _tell_of_files()
    typer.echo(f"{len(left)} kinds of findings." if left else "Everything agrees.")
    if left:
        raise typer.Exit(1)


@app.command()
def backup(out: Annotated[Path, typer.Argument(help="The folder to make; it must not be there yet.")]) -> None:
    """Copy the database and the checkpoints into a folder, while Skein runs; without the secret key."""
    with _sentences():
        made = backups.back_up(_settings(), out)
    for file in made.files:
        typer.echo(f"{file.name}  {file.bytes:,} bytes  sha256 {file.sha256}")
    typer.echo(f"The backup is in {made.folder}; it holds what people said, so keep it as safe as the database.")


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="A folder that `backup` made.")],
    replace: Annotated[bool, typer.Option("--replace", help="Put it in the place of what is there.")] = False,
) -> None:
    """Bring a backup back into the data folder, while no Skein is open on it, and let the doctor look at it."""
    with _sentences():
        restored = backups.restore(_settings(), folder, replace=replace)
    for found in restored.findings:
        typer.echo(f"{'Mended' if found.mendable else 'Found'}: {_describe(found)}")
    for path in restored.kept:
        typer.echo(f"What was there before is kept as {path}.")
    typer.echo(f"The backup of {restored.backup.made_at} is back; everybody signs in anew if the key is another.")


@app.command()
def erase_user(
    name: Annotated[str, typer.Argument(help="The name of the account to erase.")],
    by: Annotated[str, typer.Option(help="The admin in whose name it is done.")],
    yes: Yes = False,
) -> None:
    """Erase an account for ever, with all that is theirs; the record and the measures of calls stay."""
    with _sentences(), open_house(_settings()) as house:
        admin, user_id = _find_admin(house.database, by), _find_user(house.database, name)
        own = asdict(preview_erasure(admin, house.database, user_id))
        typer.echo(", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in own.items()))
        if not yes:
            typer.confirm(f"Erase {name} with all of this? It cannot be undone.", abort=True)
        left = erase(admin, house.database, house.forget_thread, user_id)
    typer.echo(
        "Everything is gone."
        if left.is_nothing
        else f"{left.sessions:,} sessions are still being stopped; run this again in a moment to finish."
    )


@retention.command("list")
def list_rules() -> None:
    """The rules, with what each did last."""
    with _sentences(), _database() as database, database.read() as db:
        for row in rules.list_rules(HOUSE, db):
            when = f"{row.last_run_at:%Y-%m-%d %H:%M} UTC" if row.last_run_at else "never"
            state = "on" if row.rule.enabled else "off"
            terms = f"{row.rule.action} after {row.rule.days} days"
            typer.echo(f"{row.retention_id}  {state}  {row.rule.name}: {terms}; last {when}, {row.last_count:,}")


@retention.command("preview")
def preview_rule(rule: Annotated[str, typer.Argument(help="The id of the rule, as `list` shows it.")]) -> None:
    """What a rule would touch if it were run now; nothing is changed."""
    with _sentences(), _database() as database:
        typer.echo(_preview(database, to_retention_id(rule)))


@retention.command("run")
def run_rule(
    rule: Annotated[str, typer.Argument(help="The id of the rule, as `list` shows it.")], yes: Yes = False
) -> None:
    """Run a rule at once, enabled or not."""
    with _sentences(), _database() as database:
        retention_id = to_retention_id(rule)
        typer.echo(_preview(database, retention_id))
        if not yes:
            typer.confirm("Do this now?", abort=True)
        count = rules.run_rule(HOUSE, database, retention_id)
    typer.echo(f"{count:,} sessions done; deleted ones are taken away by a Skein that is open, a minute later.")


def _preview(database: Database, retention_id: RetentionId) -> str:
    with database.read() as db:
        row = rules.get_rule(HOUSE, db, retention_id)
    seen = rules.preview(HOUSE, database, row.rule)
    amounts = f"{seen.sessions:,} sessions, {seen.messages:,} messages, texts of {seen.texts:,} calls"
    return f"{row.rule.name} ({row.rule.action}): {amounts}"


def _tell_of_files() -> None:
    """What the system lets Skein open, and what others may read of what it keeps."""
    files = raise_file_limit()
    if files is not None:
        typer.echo(
            f"Skein may have {files:,} files open at once, which is enough for about {tabs_for(files):,} tabs."
        )
    for path in list_open_to_others(_settings()):
        typer.echo(f"Others may read {path}; starting Skein mends that, if the file is its own.")


def _describe(found: doctors.Finding) -> str:
    shown = ", ".join(found.ids[:_MOST_IDS])
    more = f" and {len(found.ids) - _MOST_IDS:,} more" if len(found.ids) > _MOST_IDS else ""
    mending = f" (--mend: {found.mending})" if found.mendable else " (cannot be mended)"
    return f"{found.kind}: {found.what}: {shown}{more}{mending}"


def _find_user(database: Database, name: str) -> UserId:
    user = table_of(User)
    with database.read() as db:
        found = db.connection().execute(select(user.c.user_id).where(user.c.name == name)).scalar()
    if found is None:
        raise NotFoundError(f"There is no account named {name}; please check the spelling.")
    return UserId(found)


def _find_admin(database: Database, name: str) -> Viewer:
    user_id = _find_user(database, name)
    with database.read() as db:
        found = db.get_one(User, user_id)
    if found.role != "admin" or found.disabled_at is not None:
        raise ForbiddenError(f"{name} is no admin who may sign in; please name one with --by.")
    return Viewer(user_id, found.name, "admin")


def _settings() -> Settings:
    return load_settings(log_level="WARNING")


@contextmanager
def _database() -> Iterator[Database]:
    database = Database(_settings().app_database_url)
    try:
        database.migrate()
        yield database
    finally:
        database.close()


@contextmanager
def _sentences() -> Iterator[None]:
    try:
        yield
    except SkeinError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    except DBAPIError as error:
        typer.echo(f"The database cannot be used ({first_line(error)}).", err=True)
        raise typer.Exit(2) from None
