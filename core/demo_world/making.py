"""Making the demo world: for first looks, for screenshots and for tests.

Everything in it is made by the engine and the offline demo model, at moments of the past weeks: the clock of this
one process is set back before Skein is opened, and moves on between two acts. Invariant: a database in which
somebody has said something is never touched.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random

import time_machine
from sqlmodel import Session as Db
from sqlmodel import select

from core.access.accounts import create_account, create_first_admin, has_accounts
from core.access.viewer import Viewer
from core.database import Database
from core.demo_world.stories import CHINESE, ENGLISH, Cast, Story
from core.demo_world.teller import Teller
from core.errors import ConflictError
from core.history.browse.counting import count_changed
from core.history.search import index_messages
from core.history.templates import Draft, save_template
from core.runs.worker import require_closed
from core.settings import DEMO_MODEL, Settings
from core.skein import Skein, open_skein
from core.tables import LlmCall, Session, User

Progress = Callable[[int, int], None]
PEOPLE = {
    "maya": "member",
    "tom": "member",
    "林小雨": "member",
    "王伟": "member",
    "grace": "analyst",
    "olga": "admin",
}
_CHINESE = ("林小雨", "王伟")
_SEED = 20_261


@dataclass(frozen=True)
class World:
    """Who was made: names with roles, all with the same password; and how many sessions."""

    people: dict[str, str]
    password: str
    sessions: int


@dataclass(frozen=True)
class _Scene:
    """One session to come: when it begins, whose it is, and its story."""

    at: datetime
    name: str
    story: Story


def make_world(
    settings: Settings, *, sessions: int = 60, days: int = 30, progress: Progress | None = None
) -> World:
    """Make people and that many sessions over that many days, up to now.

    ConflictError where there is something; BusyError where a Skein is open, for which the leases that are taken in
    the past would have run out.
    """
    require_closed(settings)
    _require_empty(settings)
    dice, now = Random(_SEED), datetime.now(UTC)  # noqa: S311 - a world that is the same each time
    scenes = _plan(dice, sessions, now - timedelta(days=days), now - timedelta(minutes=20))
    password = secrets.token_urlsafe(12)
    with _opened_at(settings, scenes[0].at - timedelta(hours=1)) as (skein, clock):
        people = _make_people(skein.database, password)
        cast = Cast(people["grace"], people["olga"], dice)
        _make_templates(skein.database, people["maya"])
        for done, scene in enumerate(scenes):
            _play(skein, clock, scene, people[scene.name], cast)
            if progress:
                progress(done + 1, len(scenes))
        _count_all(skein.database)
    return World(PEOPLE, password, len(scenes))


class _Clock:
    """This process's clock, which only ever moves on."""

    def __init__(self, traveller: time_machine.Traveller) -> None:
        self._traveller = traveller

    def move_to(self, at: datetime) -> None:
        if at > datetime.now(UTC):
            self._traveller.move_to(at)


@contextmanager
def _opened_at(settings: Settings, at: datetime) -> Iterator[tuple[Skein, _Clock]]:
    """Skein, opened in the past and without delays; ids are in order only if nothing made one before."""
    quick = settings.model_copy(
        update={"model": DEMO_MODEL, "demo_tokens_per_second": 0.0, "approval_days": 0.0, "log_level": "ERROR"}
    )
    with time_machine.travel(at, tick=True) as traveller:
        skein = open_skein(quick)
        try:
            yield skein, _Clock(traveller)
        finally:
            skein.close()


def _require_empty(settings: Settings) -> None:
    database = Database(settings.app_database_url)
    try:
        database.migrate()
        with database.read() as db:
            for column in (Session.session_id, LlmCall.call_id):
                if db.exec(select(column).limit(1)).first() is not None:
                    raise ConflictError(
                        "This database holds what people said, and the demo world would stand among it; please "
                        "set SKEIN_DATA_DIR to another folder."
                    )
            taken = db.exec(select(User.name).where(User.name.in_(list(PEOPLE)))).all()  # type: ignore[attr-defined]
        if taken:
            raise ConflictError(f"There is an account named {taken[0]!r} already; please use an empty database.")
    finally:
        database.close()


def _make_people(database: Database, password: str) -> dict[str, Viewer]:
    if has_accounts(database):
        raise ConflictError("There are accounts in this database already; please use an empty one.")
    people = {"olga": create_first_admin(database, name="olga", password=password)}
    for name, role in PEOPLE.items():
        if name not in people:
            made = create_account(people["olga"], database, name=name, password=password, role=role)
            people[name] = Viewer(made.user_id, made.name, made.role)
    return people


def _make_templates(database: Database, author: Viewer) -> None:
    drafts = {
        "Weekly report": Draft(
            "Weekly report", "analyst", {}, ["How many messages and calls were there this week?"]
        ),
        "周报": Draft("周报", "analyst", {}, ["这周我的会话里有多少消息?"]),
    }
    for name, draft in drafts.items():
        database.write(partial(_save, author, name, draft))


def _save(author: Viewer, name: str, draft: Draft, db: Db) -> None:
    save_template(author, db, name=name, draft=draft, shared=True)


def _plan(dice: Random, count: int, first: datetime, last: datetime) -> list[_Scene]:
    """The sessions in order of time, at hours in which people work; every story comes up once before any twice."""
    names = [name for name, role in PEOPLE.items() if role != "admin"]
    moments = sorted(_work_hour(dice, first, last) for _ in range(count))
    stories: dict[tuple[Story, ...], list[Story]] = {ENGLISH: [], CHINESE: []}
    scenes = []
    for place, at in enumerate(moments):
        name = names[place % len(names)] if place < len(names) else dice.choice(names)
        of = CHINESE if name in _CHINESE else ENGLISH
        if not stories[of]:
            stories[of] = dice.sample(of, len(of))
        scenes.append(_Scene(at, name, stories[of].pop()))
    return scenes


def _work_hour(dice: Random, first: datetime, last: datetime) -> datetime:
    day = first + timedelta(days=dice.random() * (last - first).days)
    at = day.replace(hour=dice.choice((8, 9, 9, 10, 10, 11, 13, 14, 14, 15, 16, 17)), minute=dice.randrange(60))
    return min(max(at, first), last)


def _play(skein: Skein, clock: _Clock, scene: _Scene, person: Viewer, cast: Cast) -> None:
    clock.move_to(scene.at)

    def think() -> None:
        clock.move_to(min(datetime.now(UTC) + timedelta(seconds=cast.dice.uniform(8, 90)), _latest(scene)))

    scene.story(Teller(skein, person, think), cast)
    skein.call_log.flush()


def _latest(scene: _Scene) -> datetime:
    """A session takes less than its time to the next; what comes later would stand in the future."""
    return scene.at + timedelta(minutes=18)


def _count_all(database: Database) -> None:
    """So that the first look finds everything counted and searchable."""
    while count_changed(database) or index_messages(database):
        pass
