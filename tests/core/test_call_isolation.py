"""Nobody reads another's calls: every function of the call log that takes a viewer is tried as the wrong one.

A new one fails ``test_every_function_with_a_viewer_is_tried`` until it is listed here.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlmodel import select

import core.calls
from core.access.viewer import Viewer
from core.calls.filters import CallFilter
from core.calls.listing import queries, sums
from core.calls.listing.export import export_calls
from core.calls.panels import analytics
from core.calls.pricing import own_prices, repricing
from core.calls.proof import heads, verify
from core.calls.text import search
from core.calls.where import where_of
from core.errors import ForbiddenError, NotFoundError
from core.skein import Skein
from core.tables import LlmCall, utc_now
from tests.core.support import answered, ask

Person = Callable[..., Viewer]
UTC_ZONE = ZoneInfo("UTC")
ALL = CallFilter()


@dataclass(frozen=True)
class World:
    skein: Skein
    alice: Viewer
    call: LlmCall
    folder: Path

    def read(self, function: Callable[..., Any], viewer: Viewer, *args: Any, **named: Any) -> Any:
        with self.skein.database.read() as db:
            return function(viewer, db, *args, **named)

    def panel(self, function: Callable[..., Any], viewer: Viewer, *args: Any) -> Any:
        return self.read(function, viewer, CallFilter(since=utc_now() - timedelta(days=2)), UTC_ZONE, *args)

    def export(self, viewer: Viewer) -> Any:
        path = self.folder / f"{viewer.name}.csv"
        return export_calls(viewer, self.skein.database, ALL, UTC_ZONE, kind="csv", path=path)


# Each gives something of Alice's call, or nothing.
READS: dict[str, Callable[[World, Viewer], Any]] = {
    "read_totals": lambda w, v: w.panel(analytics.read_totals, v).calls,
    "read_series": lambda w, v: list(w.panel(analytics.read_series, v, "hour").calls),
    "read_latency": lambda w, v: list(w.panel(analytics.read_latency, v).calls),
    "read_histogram": lambda w, v: list(w.panel(analytics.read_histogram, v).calls),
    "read_errors": lambda w, v: list(w.panel(analytics.read_errors, v).calls),
    "read_top": lambda w, v: list(w.panel(analytics.read_top, v, "session").key),
    "read_heat": lambda w, v: sum(w.panel(analytics.read_heat, v).calls),
    "read_choices": lambda w, v: w.read(analytics.read_choices, v, ALL).models,
    "list_calls": lambda w, v: w.read(queries.list_calls, v, ALL, UTC_ZONE).rows,
    "count_calls": lambda w, v: w.read(queries.count_calls, v, ALL, UTC_ZONE)[0],
    "summarize_thread": lambda w, v: w.read(sums.summarize_thread, v, w.call.thread_id).calls,
    "summarize_threads": lambda w, v: w.read(sums.summarize_threads, v, [w.call.thread_id]),
    "summarize_conversation": lambda w, v: w.read(
        sums.summarize_conversation, v, w.call.session_id, w.call.conversation_id
    ),
    "matching": lambda w, v: w.read(search.matching, v, "secret"),
    "export_calls": lambda w, v: w.export(v),
}
REFUSES: dict[str, Callable[[World, Viewer], Any]] = {
    "get_call": lambda w, v: queries.get_call(v, w.skein.database, w.call.call_id),
}
ADMINS_ONLY: dict[str, Callable[[World, Viewer], Any]] = {
    "list_prices": lambda w, v: w.read(own_prices.list_prices, v),
    "add_price": lambda w, v: own_prices.add_price(
        v, w.skein.database, model="m", valid_from=datetime(2026, 1, 1, tzinfo=UTC), input_usd=1, output_usd=1
    ),
    "end_price": lambda w, v: own_prices.end_price(v, w.skein.database, "price_1700000000000_000000000000"),
    "preview_repricing": lambda w, v: repricing.preview_repricing(v, w.skein.database, ALL),
    "reprice": lambda w, v: repricing.reprice(v, w.skein.database, ALL, expected=NOTHING),
}
ANALYSTS_ONLY: dict[str, Callable[[World, Viewer], Any]] = {
    "verify_log": lambda w, v: verify.verify_log(v, w.skein.database),
    "export_head": lambda w, v: heads.export_head(v, w.skein.database, heads.read_head(w.skein.database)),
}
# These make conditions, which the tests above go through; or say only that something changed or waits.
CONDITIONS = {"pending", "where_of", "matches", "newest_change", "count_up_to", "find_places", "narrowed"}
NOTHING = repricing.Repricing(
    until=utc_now(), looked_at=0, changing=0, newly_priced=0, cost_before=0, cost_after=0, models=(), digest=""
)


@pytest.fixture
def world(opened: Skein, person: Person, tmp_path: Path) -> World:
    alice = person("alice")
    answered(opened, alice, ask(opened, alice, "secret words").thread_id)
    assert opened.call_log.flush()
    while search.index_calls(opened.database):
        pass
    with opened.database.read() as db:
        return World(opened, alice, db.exec(select(LlmCall)).one(), tmp_path)


def with_a_viewer() -> set[str]:
    """The public functions of ``core/calls`` that take a viewer first."""
    found = set()
    for found_module in pkgutil.walk_packages(core.calls.__path__, "core.calls."):
        module = importlib.import_module(found_module.name)
        for name, function in vars(module).items():
            if inspect.isfunction(function) and function.__module__ == module.__name__ and name[0] != "_":
                found |= {name} if "viewer" in inspect.signature(function).parameters else set()
    return found


def test_every_function_with_a_viewer_is_tried() -> None:
    assert with_a_viewer() == {*READS, *REFUSES, *ADMINS_ONLY, *ANALYSTS_ONLY, *CONDITIONS}


def test_another_member_finds_nothing(world: World, person: Person) -> None:
    mallory = person("mallory")
    assert {name: read(world, mallory) for name, read in READS.items() if read(world, mallory)} == {}
    for read in REFUSES.values():
        with pytest.raises(NotFoundError):
            read(world, mallory)


def test_the_owner_and_an_analyst_find_it(world: World, person: Person) -> None:
    for viewer in (world.alice, person("ann", role="analyst")):
        empty = {name for name, read in {**READS, **REFUSES}.items() if not read(world, viewer)}
        assert empty <= {"read_errors"}


@pytest.mark.parametrize("role", ["member", "analyst"])
def test_prices_are_for_admins(world: World, person: Person, role: str) -> None:
    viewer = person("mallory", role=role)
    for read in ADMINS_ONLY.values():
        with pytest.raises(ForbiddenError):
            read(world, viewer)


def test_the_proof_is_for_those_who_read_all(world: World, person: Person) -> None:
    mallory, ann = person("mallory"), person("ann", role="analyst")
    for verifying in ANALYSTS_ONLY.values():
        with pytest.raises(ForbiddenError):
            verifying(world, mallory)
        found = verifying(world, ann)
        assert getattr(found, "ok", found)


def test_a_member_cannot_ask_for_anothers_calls_by_name(world: World, person: Person) -> None:
    mallory = person("mallory")
    for wanted in (
        CallFilter(users=(world.alice.user_id,)),
        CallFilter(thread=str(world.call.thread_id)),
        CallFilter(message=str(world.call.message_id)),
        CallFilter(sessions=(str(world.call.session_id),)),
        CallFilter(text="secret"),
    ):
        assert world.read(queries.list_calls, mallory, wanted, UTC_ZONE).rows == []
        assert world.read(queries.list_calls, world.alice, wanted, UTC_ZONE).rows != []
    assert where_of(ALL, mallory, UTC_ZONE)
