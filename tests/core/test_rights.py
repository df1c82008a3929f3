"""Rights that are taken away while a run is followed: nothing more of it is given out."""

from dataclasses import replace
from datetime import timedelta

import pytest

from core.access import accounts
from core.access.sign_in import find_again, find_viewers, sign_out
from core.access.viewer import Viewer
from core.errors import NotFoundError, SignInError
from core.ids import LoginId, new_login_id
from core.settings import Settings
from core.skein import Skein
from core.tables import Login, utc_now
from tests.conftest import make_settings
from tests.core.support import ask

LONG = 5_000


@pytest.fixture
def settings(database_url: str, tmp_path) -> Settings:
    return make_settings(tmp_path, database_url=database_url, demo_tokens_per_second=50, drain_seconds=0)


@pytest.fixture
def admin(person) -> Viewer:
    return person("admin", "admin")


def signed_in(skein: Skein, viewer: Viewer, *, days: float = 1) -> Viewer:
    login_id = new_login_id()
    login = Login(login_id=login_id, user_id=viewer.user_id, expires_at=utc_now() + timedelta(days=days))
    skein.database.write(lambda db: db.add(login))
    return replace(viewer, login_id=login_id)


def read_all(lists) -> None:
    for _ in lists:
        pass


class TestFollowingARun:
    def test_ends_when_the_login_has_ended(self, opened: Skein, person) -> None:
        viewer = signed_in(opened, person("ada"))
        lists = opened.engine.attach(viewer, ask(opened, viewer, f"{LONG} tokens").thread_id)
        next(lists)
        sign_out(viewer, opened.database)
        with pytest.raises(SignInError):
            read_all(lists)

    @pytest.mark.parametrize("has_login", [True, False], ids=["by a login", "from a script"])
    def test_ends_when_the_account_is_disabled(self, opened: Skein, person, admin, has_login: bool) -> None:
        viewer = person("ada")
        viewer = signed_in(opened, viewer) if has_login else viewer
        lists = opened.engine.attach(viewer, ask(opened, viewer, f"{LONG} tokens").thread_id)
        next(lists)
        accounts.set_disabled(admin, opened.database, user_id=viewer.user_id, disabled=True)
        with pytest.raises(SignInError):
            read_all(lists)

    def test_of_somebody_else_ends_with_the_role(self, opened: Skein, person, admin) -> None:
        owner, reader = person("ada"), signed_in(opened, person("grace", "analyst"))
        lists = opened.engine.attach(reader, ask(opened, owner, f"{LONG} tokens").thread_id)
        next(lists)
        accounts.set_role(admin, opened.database, user_id=reader.user_id, role="member")
        with pytest.raises(NotFoundError):
            read_all(lists)

    def test_of_ones_own_goes_on_with_another_role(self, opened: Skein, person, admin) -> None:
        viewer = signed_in(opened, person("ada", "analyst"))
        lists = opened.engine.attach(viewer, ask(opened, viewer, "120 tokens").thread_id)
        next(lists)
        accounts.set_role(admin, opened.database, user_id=viewer.user_id, role="member")
        assert [event.kind for events in lists for event in events][-1] == "end"


class TestLookingAgain:
    def test_finds_only_logins_that_are_good(self, opened: Skein, person, admin) -> None:
        good, ended, disabled = (signed_in(opened, person(name)) for name in ("good", "ended", "disabled"))
        expired = signed_in(opened, person("expired"), days=-1)
        sign_out(ended, opened.database)
        accounts.set_disabled(admin, opened.database, user_id=disabled.user_id, disabled=True)
        logins = [LoginId(one.login_id) for one in (good, ended, expired, disabled)]
        assert find_viewers(opened.database, [*logins, *(new_login_id() for _ in range(1_200))]) == {
            good.login_id: good
        }

    def test_gives_a_script_the_role_of_now(self, opened: Skein, person, admin) -> None:
        viewer = person("ada", "analyst")
        accounts.set_role(admin, opened.database, user_id=viewer.user_id, role="member")
        assert find_again(opened.database, viewer) == replace(viewer, role="member")
