"""Management commands: ``python -m core.cli --help``."""

import statistics
from typing import Annotated

import typer

from core.access.viewer import Viewer
from core.errors import SkeinError
from core.ids import new_user_id
from core.runs.crowd import Report, run_crowd
from core.settings import load_settings
from core.skein import Skein, open_skein
from core.tables import User, utc_now

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Manage Skein from the command line.")


@app.callback()
def main() -> None:
    """Manage Skein from the command line."""


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


if __name__ == "__main__":
    app()
