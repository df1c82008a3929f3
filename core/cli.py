"""Management commands: ``python -m core.cli --help``."""

import json
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from core.access.viewer import Viewer
from core.calls.proof.heads import Head, read_head
from core.calls.proof.verify import Verdict, verify
from core.checking.check import Safety, check_graph, find_entry
from core.database import Database
from core.demo_world.making import make_world
from core.errors import BadInputError, NotFoundError, SettingsError, SkeinError
from core.ids import new_user_id
from core.outages import first_line
from core.private import keep_private
from core.records import commands
from core.records.export.command import check_export, export
from core.runs.crowd import Report, run_crowd
from core.settings import load_settings, share_model_server
from core.skein import Skein, open_skein, serve_project
from core.tables import User, utc_now

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Manage Skein from the command line.")


@app.callback()
def main() -> None:
    """Manage Skein from the command line."""
    keep_private()


@app.command()
def crowd(
    users: Annotated[int, typer.Option(min=1, max=500, help="How many synthetic people talk at once.")] = 20,
    turns: Annotated[int, typer.Option(min=1, max=100, help="How many turns each takes.")] = 3,
    tokens: Annotated[int, typer.Option(min=1, max=5_000, help="How many tokens each answer has.")] = 60,
) -> None:
    """Let synthetic people talk at once through the engine, and report what was crossed, lost or doubled.

    Their accounts cannot sign in; what they said stays in the database, under their names.
    """
    try:
        skein = open_skein(load_settings(log_level="WARNING"))
    except SkeinError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    try:
        people = _make_people(skein, users)
        with typer.progressbar(length=users * turns, label="Turns") as bar:
            report = run_crowd(skein.engine, people, turns=turns, tokens=tokens, on_turn=lambda: bar.update(1))
    finally:
        skein.close()
    typer.echo(_describe(report, users))
    if report.crossings or report.lost or report.doubled or report.disordered or report.failures:
        raise typer.Exit(1)


@app.command("check-graph")
def check(
    graph: Annotated[str, typer.Argument(help="path/file.py:variable, or an id of the langgraph.json.")],
    folder: Annotated[Path, typer.Option(help="Where paths start from, and the langgraph.json is.")] = Path(),
    file: Annotated[Path | None, typer.Option(help="The langgraph.json, where it has another name.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object for each finding.")] = False,
) -> None:
    """Run a graph in Skein and outside, stop it, kill it, fork it, decide twice, and say what is safe.

    It runs unchanged, against a model server that answers by a script, on a database that is thrown away.
    """
    found = []
    manifest = file or folder / "langgraph.json"
    try:
        # What the graph prints is no finding.
        told = sys.stdout
        with redirect_stdout(sys.stderr):
            for finding in check_graph(find_entry(graph, manifest), manifest):
                found.append(finding)
                line = f"{finding.safety.upper():>9}  {finding.what}. {finding.why}"
                typer.echo(json.dumps(asdict(finding)) if as_json else line, file=told)
    except SkeinError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if any(one.safety is Safety.UNSAFE for one in found):
        raise typer.Exit(1)


def _make_people(skein: Skein, count: int) -> list[Viewer]:
    """Accounts that nobody can sign in to: they have no password and are disabled."""
    stamp = f"{utc_now():%m%d%H%M%S}"
    people = [Viewer(new_user_id(), f"crowd-{stamp}-{number}") for number in range(1, count + 1)]
    skein.database.write(
        lambda db: db.add_all(
            User(user_id=person.user_id, name=person.name, disabled_at=utc_now()) for person in people
        )
    )
    return people


def _describe(report: Report, users: int) -> str:
    lines = [
        f"{users} people, {report.turns} turns, {report.tokens:,} tokens in {report.seconds:.1f} s",
        (
            f"crossings {report.crossings}, lost tokens {report.lost}, doubled tokens {report.doubled}, "
            f"answers out of order {report.disordered}"
        ),
    ]
    if report.first_token:
        lines.append(f"first token {_spread(report.first_token)}; whole answer {_spread(report.whole)}")
    lines.extend(f"failed: {sentence}" for sentence in sorted(set(report.failures)))
    return "\n".join(lines)


def _spread(seconds: list[float]) -> str:
    worst = sorted(seconds)[max(0, int(len(seconds) * 0.95) - 1)]
    return f"p50 {statistics.median(seconds) * 1000:.0f} ms, p95 {worst * 1000:.0f} ms"


@app.command()
def demo(
    sessions: Annotated[int, typer.Option(min=1, max=2_000, help="How many sessions to make.")] = 60,
    days: Annotated[int, typer.Option(min=1, max=365, help="Over how many days up to now they lie.")] = 30,
) -> None:
    """Make a believable world in an empty database: people, sessions, branches, failures, approvals, calls.

    The offline demo model says it all; the engine really runs it. Prints the names and the one password.
    """
    try:
        with typer.progressbar(length=sessions, label="Sessions") as bar:
            world = make_world(
                load_settings(), sessions=sessions, days=days, progress=lambda done, _of: bar.update(done - bar.pos)
            )
    except SkeinError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    for name, role in world.people.items():
        typer.echo(f"{name} ({role})")
    typer.echo(f"They all sign in with the password {world.password}, which is shown only now.")


app.command()(export)
app.command()(check_export)
app.command(hidden=True)(serve_project)  # begun by Skein, not by people
app.add_typer(commands.app)


@app.command()
def verify_log(
    head: Annotated[Path | None, typer.Option(help="A head that `log-head` exported before.")] = None,
) -> None:
    """Check the call log against its chain of seals; exit code 1 names the first seal and row that does not hold.

    With an exported head it also shows whether the log was cut off, or made anew, since.
    """
    with _log_opened() as database:
        expected = None if head is None else Head.from_json(_read_file(head))
        with typer.progressbar(length=1, label="Rows" if sys.stdout.isatty() else "") as bar:

            def show(done: int, of: int) -> None:
                bar.length = max(done, of)
                bar.update(done - bar.pos)

            verdict = verify(database, expected_head=expected, progress=show)
    typer.echo(_describe_log(verdict, expected))
    if not verdict.ok:
        raise typer.Exit(1)


@app.command()
def log_head(
    out: Annotated[Path | None, typer.Option(help="The file to write; without it, the head is printed.")] = None,
) -> None:
    """Export the head of the call log's chain, to be kept elsewhere and given to `verify-log` later."""
    with _log_opened() as database:
        head = read_head(database)
        if head is None:
            raise NotFoundError("The call log has no seal yet; export its head once a call has ended.")
        if out is None:
            typer.echo(head.to_json(), nl=False)
        else:
            _write_file(out, head.to_json())
            typer.echo(f"The head {head.seal_id} is in {out}; keep it where this log's owner cannot write.")


@contextmanager
def _log_opened() -> Iterator[Database]:
    """The database alone, without the engine; whatever is wrong with it is one sentence and exit code 2."""
    try:
        url = make_url(load_settings().app_database_url)
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
            raise SettingsError(
                f"There is no database at {url.database}; please check SKEIN_DATA_DIR and SKEIN_DATABASE_URL."
            )
        database = Database(url.render_as_string(hide_password=False))
        try:
            yield database
        finally:
            database.close()
    except SkeinError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    except DBAPIError as error:
        sentence = f"The call log cannot be read ({first_line(error)}); please check SKEIN_DATABASE_URL."
        typer.echo(sentence, err=True)
        raise typer.Exit(2) from None


def _read_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise BadInputError(f"The file {path} cannot be read ({reason}); please name an exported head.") from None


def _write_file(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInputError(f"The file {path} cannot be written ({error.strerror}).") from None


def _describe_log(verdict: Verdict, expected: Head | None) -> str:
    counted = (
        f"{verdict.seals:,} seals, {verdict.calls:,} calls, {verdict.corrections:,} corrections, "
        f"{verdict.activity:,} acts of people ({verdict.waiting:,} more wait for their seal); texts of "
        f"{verdict.bodies:,} calls checked, of {verdict.bodies_absent:,} deleted or not kept"
    )
    if not verdict.ok:
        return f"The call log does not hold. {verdict.problem}\nChecked before that: {counted}."
    lines = [f"The call log holds: {counted}."]
    if expected is not None:
        lines.append(f"It goes on from the exported head {expected.seal_id}.")
    if verdict.head is not None:
        lines.append(f"Its head is {verdict.head.seal_id}, {verdict.head.hash}.")
    return "\n".join(lines)


if __name__ == "__main__":
    share_model_server()
    app()
