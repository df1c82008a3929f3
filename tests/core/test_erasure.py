"""Erasing a person: nothing of theirs is left in any store, and the record and the log still hold."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from core.access.accounts import create_account, list_accounts
from core.access.sign_in import sign_in
from core.access.viewer import Viewer
from core.calls.proof.verify import verify
from core.database import table_of
from core.errors import BadInputError, ForbiddenError, NotFoundError, SignInError
from core.history import annotations, rules
from core.history.saved_views import save_view
from core.history.templates import Draft, save_template
from core.ids import UserId, new_user_id
from core.records.erasure import Own, erase_user, preview_erasure
from core.settings import Settings
from core.skein import Skein
from core.tables import LlmCall, User
from tests.core.support import ask, graph_settings, wait_until
from tests.core.test_deletion import Cut, CutShort, Place, found, reads, rows_of, threads_of, words_left

Person = Callable[..., Viewer]
NAME = "zanzibarquux"


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return graph_settings(tmp_path, database_url)


@pytest.fixture
def root(person: Person) -> Viewer:
    return person("root", role="admin")


def of_somebody(skein: Skein, root: Viewer) -> Place:
    """A person with a name that is looked for, and with something of everything that is a person's own."""
    made = create_account(root, skein.database, name=NAME, password="a long password", role="analyst")
    place = Place(skein, Viewer(made.user_id, NAME, "analyst"), word=NAME)

    def job(db: Any) -> None:
        save_template(place.owner, db, name=f"of {NAME}", draft=Draft(NAME, messages=[NAME]), shared=True)
        rules.add_rule(place.owner, db, effect="ask", tool=f"send{NAME}")

    skein.database.write(job)
    save_view(place.owner, skein.database, "calls", f"view of {NAME}", "status=ok")
    return place


def erase(skein: Skein, root: Viewer, user_id: str, database: Any = None) -> Own:
    return erase_user(root, database or skein.database, skein.housekeeper.forget_thread, user_id)


class TestErasing:
    def test_leaves_nothing_of_a_person_anywhere(self, opened: Skein, root: Viewer, person: Person) -> None:
        place, bobs = of_somebody(opened, root), Place(opened, person("bob"), word="bobswords")
        opened.database.write(lambda db: annotations.set_note(place.owner, db, bobs.turn.message_id, f"by {NAME}"))
        threads = [key for key in threads_of(place) if key not in threads_of(bobs)]
        before = preview_erasure(root, opened.database, place.owner.user_id)
        assert (before.sessions, before.messages, before.annotations) == (1, 4, 5)
        assert (before.saved_views, before.templates, before.texts > 0) == (1, 1, True)
        assert erase(opened, root, place.owner.user_id).is_nothing
        assert words_left(opened, NAME) == {}
        assert opened.housekeeper._count(threads) == dict.fromkeys(threads, 0)
        assert found(bobs, bobs.owner) == set(reads(bobs, bobs.owner))

    def test_leaves_the_log_and_the_record_whole(self, opened: Skein, root: Viewer) -> None:
        place = of_somebody(opened, root)
        calls = rows_of(opened.database, LlmCall, place.session_id)
        erase(opened, root, place.owner.user_id)
        assert rows_of(opened.database, LlmCall, place.session_id) == calls
        assert verify(opened.database).ok

    def test_leaves_an_account_that_nobody_can_use(self, opened: Skein, root: Viewer) -> None:
        place = of_somebody(opened, root)
        erase(opened, root, place.owner.user_id)
        [row] = [one for one in list_accounts(root, opened.database) if one.user_id == place.owner.user_id]
        assert (row.name, row.role) == (f"erased-{place.owner.user_id[-12:].lower()}", "member")
        assert row.disabled_at is not None
        for name in (NAME, row.name):
            with pytest.raises(SignInError):
                sign_in(opened.database, name=name, password="a long password", address="x", browser="", days=1)
        with opened.database.read() as db:
            user = table_of(User)
            found_hash = select(user.c.password_hash).where(user.c.user_id == row.user_id)
            assert db.connection().execute(found_hash).scalar() == ""

    def test_is_finished_the_next_time_wherever_it_was_cut_short(self, opened: Skein, root: Viewer) -> None:
        place = of_somebody(opened, root)
        steps = 0
        while True:
            try:
                left = erase(opened, root, place.owner.user_id, CutShort(opened.database, steps))
            except Cut:
                steps += 1
                continue
            break
        assert left.is_nothing
        assert words_left(opened, NAME) == {}
        assert steps > 3

    def test_lets_what_runs_be_stopped_first(self, opened: Skein, root: Viewer, person: Person) -> None:
        alice = person("alice")
        runs = ask(opened, alice, "runs", agent="held")
        wait_until(lambda: bool(opened.engine.active(root)))
        assert erase(opened, root, alice.user_id).sessions == 1
        wait_until(lambda: not opened.engine.active(root))
        wait_until(lambda: erase(opened, root, alice.user_id).is_nothing)
        assert opened.housekeeper._count([runs.thread_id]) == {runs.thread_id: 0}


class TestWhoMayErase:
    def test_admins_others_than_themselves(self, opened: Skein, root: Viewer, person: Person) -> None:
        bob = person("bob")
        for viewer in (bob, person("ann", role="analyst")):
            with pytest.raises(ForbiddenError):
                erase(opened, viewer, root.user_id)
            with pytest.raises(ForbiddenError):
                preview_erasure(viewer, opened.database, root.user_id)
        with pytest.raises(BadInputError, match="another admin"):
            erase(opened, root, root.user_id)
        with pytest.raises(NotFoundError):
            erase(opened, root, new_user_id())
        with pytest.raises(NotFoundError):
            preview_erasure(root, opened.database, new_user_id())

    def test_never_the_last_admin(self, opened: Skein, root: Viewer, person: Person) -> None:
        other = person("other", role="admin")
        erase(opened, root, other.user_id)
        gone = Viewer(UserId(other.user_id), "other", "admin")
        with pytest.raises(ForbiddenError, match="no longer an admin"):
            erase(opened, gone, root.user_id)
