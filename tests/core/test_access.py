"""Accounts, sign-in and the waiting time after failures, on a real database."""

import re
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from sqlmodel import Session, col, select

from core.access import accounts, passwords, sign_in
from core.access.secret_key import load_secret_key
from core.access.viewer import Viewer
from core.database import Database
from core.errors import (
    BadInputError,
    BusyError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    SettingsError,
    SignInError,
)
from core.settings import load_settings
from core.tables import Login, SignInFailure, User

PASSWORD = "correct horse"
HERE = "10.0.0.1"


@pytest.fixture(autouse=True)
def _cheap_hashing(monkeypatch):
    """Real argon2id, with parameters that take a millisecond."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    passwords._decoy.cache_clear()


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'skein.db'}")
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def admin(database) -> Viewer:
    accounts.create_first_admin(database, name="Ada", password=PASSWORD)
    return enter(database, "ada")


@pytest.fixture
def member(database, admin) -> Viewer:
    accounts.create_account(admin, database, name="Mo", password=PASSWORD, role="member")
    return enter(database, "mo")


def enter(database, name, password=PASSWORD, address=HERE):
    return sign_in.sign_in(database, name=name, password=password, address=address, browser="Test/1", days=1)


def fail(database, name="ada", address=HERE):
    with pytest.raises(SignInError):
        enter(database, name, "not the password", address)


def age_failures(database, seconds):
    """Let time pass for the failures: as if the last one had been so many seconds earlier."""

    def job(session: Session) -> None:
        for row in session.exec(select(SignInFailure)):
            row.last_at -= timedelta(seconds=seconds)

    database.write(job)


class TestTheFirstAdmin:
    def test_is_made_once(self, database):
        assert not accounts.has_accounts(database)
        viewer = accounts.create_first_admin(database, name="Ada", password=PASSWORD)
        assert (viewer.name, viewer.role, viewer.login_id) == ("ada", "admin", None)
        assert accounts.has_accounts(database)
        with pytest.raises(ConflictError, match="first account was made already"):
            accounts.create_first_admin(database, name="Eve", password=PASSWORD)

    def test_is_one_also_when_two_ask_at_the_same_moment(self, database):
        def make(name):
            try:
                return accounts.create_first_admin(database, name=name, password=PASSWORD).name
            except ConflictError:
                return None

        with ThreadPoolExecutor(8) as pool:
            made = [name for name in pool.map(make, "abcdefgh") if name]
        assert len(made) == 1


class TestNamesAndPasswords:
    def test_a_name_is_one_however_it_is_typed(self, database, admin):
        accounts.create_account(admin, database, name="  Ｌi   Wei ", password=PASSWORD, role="member")
        assert enter(database, "LI wei").name == "li wei"
        with pytest.raises(ConflictError, match="named li wei already"):
            accounts.create_account(admin, database, name="li WEI", password=PASSWORD, role="member")

    def test_chinese_names_and_passwords_work(self, database, admin):
        accounts.create_account(admin, database, name="张伟", password="密码密码密码密码", role="analyst")
        assert enter(database, "张伟", "密码密码密码密码").role == "analyst"

    @pytest.mark.parametrize("name", ["", "   ", "x" * 65, "a\0b", "a\u202eb", "a\ud800"])
    def test_a_name_nobody_could_type_again_is_refused(self, database, admin, name):
        with pytest.raises(BadInputError, match="choose a name"):
            accounts.create_account(admin, database, name=name, password=PASSWORD, role="member")

    @pytest.mark.parametrize("password", ["", "seven77", "x" * 1001])
    def test_a_password_too_short_or_long_is_refused(self, database, admin, password):
        with pytest.raises(BadInputError, match="8 to 1000"):
            accounts.create_account(admin, database, name="mo", password=password, role="member")

    def test_an_unknown_role_is_refused(self, database, admin):
        with pytest.raises(BadInputError, match="one of member, analyst, admin"):
            accounts.create_account(admin, database, name="mo", password=PASSWORD, role="root")

    def test_passwords_are_stored_as_argon2id_only(self, database, admin):
        with database.read() as session:
            stored = session.exec(select(User.password_hash)).one()
        assert stored.startswith("$argon2id$")
        assert PASSWORD not in stored

    def test_a_hash_with_older_parameters_is_renewed_at_sign_in(self, database, admin, monkeypatch):
        newer = PasswordHasher(time_cost=2, memory_cost=64, parallelism=1)
        monkeypatch.setattr(passwords, "_hasher", newer)
        enter(database, "ada")
        with database.read() as session:
            assert ",t=2," in session.exec(select(User.password_hash)).one()


class TestSignIn:
    def test_makes_a_login_that_can_be_found_again(self, database, admin):
        assert sign_in.find_viewer(database, admin.login_id) == admin
        assert admin.is_admin

    def test_wrong_name_and_wrong_password_say_the_same(self, database, admin):
        with pytest.raises(SignInError) as wrong_password:
            enter(database, "ada", "not the password")
        with pytest.raises(SignInError) as wrong_name:
            enter(database, "nobody", PASSWORD)
        assert str(wrong_password.value) == str(wrong_name.value)

    def test_a_wrong_name_costs_a_hash_too(self, database, admin, monkeypatch):
        checked = []
        real = passwords._hasher.verify

        class Counting:
            def verify(self, password_hash, password):
                checked.append(password_hash)
                return real(password_hash, password)

            hash = passwords._hasher.hash

        monkeypatch.setattr(passwords, "_hasher", Counting())
        fail(database, "nobody")
        fail(database, "ada")
        assert len(checked) == 2

    @pytest.mark.parametrize("name", ["", "x" * 5000, "a\0", "\ud800", "'; drop table user"])
    def test_odd_names_are_wrong_names(self, database, admin, name):
        fail(database, name)

    @pytest.mark.parametrize("password", ["", "x" * 5000, "\0", "\ud800"])
    def test_odd_passwords_are_wrong_passwords(self, database, admin, password):
        with pytest.raises(SignInError):
            enter(database, "ada", password)

    def test_a_long_password_is_not_cut_short(self, database, admin):
        accounts.create_account(admin, database, name="mo", password="x" * 1000, role="member")
        assert enter(database, "mo", "x" * 1000).name == "mo"
        with pytest.raises(SignInError):
            enter(database, "mo", "x" * 1001)

    def test_an_expired_login_is_nobody(self, database, admin):
        viewer = sign_in.sign_in(
            database, name="ada", password=PASSWORD, address=HERE, browser="", days=0.2 / 86_400
        )
        assert sign_in.find_viewer(database, viewer.login_id) == viewer
        time.sleep(0.25)
        assert sign_in.find_viewer(database, viewer.login_id) is None

    @pytest.mark.parametrize("login_id", ["", "login_0000000000000_000000000000", "' or 1=1 --", "\0"])
    def test_an_unknown_login_is_nobody(self, database, admin, login_id):
        assert sign_in.find_viewer(database, login_id) is None

    def test_a_login_survives_a_restart(self, database, admin):
        again = Database(database.url)
        assert sign_in.find_viewer(again, admin.login_id) == admin
        again.close()


class TestWaitingAfterFailures:
    def test_doubles_up_to_a_minute(self):
        waits = [sign_in.seconds_to_wait(failures) for failures in (0, 4, 5, 6, 7, 10, 11, 12, 5000)]
        assert waits == [0, 0, 1, 2, 4, 32, 60, 60, 60]

    def test_begins_after_five_failures(self, database, admin):
        for _ in range(5):
            fail(database)
        with pytest.raises(BusyError, match="try again in 1 s"):
            enter(database, "ada")

    def test_does_not_grow_by_asking_while_waiting(self, database, admin):
        for _ in range(5):
            fail(database)
        for _ in range(3):
            with pytest.raises(BusyError, match="in 1 s"):
                enter(database, "ada")
        age_failures(database, 1)
        fail(database)
        with pytest.raises(BusyError, match="in 2 s"):
            enter(database, "ada")

    def test_survives_a_restart(self, database, admin):
        for _ in range(5):
            fail(database)
        again = Database(database.url)
        with pytest.raises(BusyError):
            enter(again, "ada")
        again.close()

    def test_ends_with_the_right_password(self, database, admin):
        for _ in range(5):
            fail(database)
        age_failures(database, 1)
        assert enter(database, "ada").name == "ada"
        for _ in range(5):
            fail(database)

    def test_is_for_one_name_from_one_address(self, database, member):
        for _ in range(5):
            fail(database)
        assert enter(database, "ada", address="10.0.0.2").name == "ada"
        assert enter(database, "mo").name == "mo"

    def test_holds_for_names_that_do_not_exist(self, database, admin):
        for _ in range(5):
            fail(database, "nobody")
        with pytest.raises(BusyError):
            enter(database, "NOBODY")

    def test_cannot_be_outrun_by_many_at_once(self, database, admin):
        start = threading.Barrier(20)

        def attempt(_number):
            start.wait()
            try:
                enter(database, "ada", "not the password")
            except (SignInError, BusyError) as error:
                return type(error)

        with ThreadPoolExecutor(20) as pool:
            outcomes = list(pool.map(attempt, range(20)))
        assert outcomes.count(SignInError) == sign_in.FREE_FAILURES

    def test_is_not_longer_when_the_clock_was_set_back(self, database, admin):
        for _ in range(5):
            fail(database)
        age_failures(database, -86_400)
        with pytest.raises(BusyError, match="in 1 s"):
            enter(database, "ada")


class TestSignOut:
    def test_here_leaves_the_other_browser(self, database, admin):
        other = enter(database, "ada")
        sign_in.sign_out(admin, database)
        assert sign_in.find_viewer(database, admin.login_id) is None
        assert sign_in.find_viewer(database, other.login_id) == other

    def test_everywhere_ends_mine_and_nobody_elses(self, database, admin, member):
        other = enter(database, "ada")
        sign_in.sign_out_everywhere(admin, database)
        found = [sign_in.find_viewer(database, viewer.login_id) for viewer in (admin, other, member)]
        assert found == [None, None, member]

    def test_cannot_end_another_persons_login(self, database, admin, member):
        forged = Viewer(member.user_id, "mo", "member", admin.login_id)
        sign_in.sign_out(forged, database)
        assert sign_in.find_viewer(database, admin.login_id) == admin

    def test_the_list_shows_my_good_logins_newest_first(self, database, admin, member):
        other = enter(database, "ada", address="10.0.0.9")
        sign_in.sign_out(enter(database, "ada"), database)
        listed = sign_in.list_logins(admin, database)
        assert [login.login_id for login in listed] == [other.login_id, admin.login_id]
        assert [login.is_current for login in listed] == [False, True]
        assert (listed[0].address, listed[0].browser) == ("10.0.0.9", "Test/1")


class TestAdmins:
    def test_disabling_ends_logins_and_sign_in_until_enabled(self, database, admin, member):
        accounts.set_disabled(admin, database, user_id=member.user_id, disabled=True)
        assert sign_in.find_viewer(database, member.login_id) is None
        with pytest.raises(SignInError, match="disabled"):
            enter(database, "mo")
        accounts.set_disabled(admin, database, user_id=member.user_id, disabled=False)
        assert sign_in.find_viewer(database, member.login_id) is None
        assert enter(database, "mo").name == "mo"

    def test_a_disabled_account_is_not_told_apart_without_its_password(self, database, admin, member):
        accounts.set_disabled(admin, database, user_id=member.user_id, disabled=True)
        with pytest.raises(SignInError, match="Name or password is wrong"):
            enter(database, "mo", "not the password")

    def test_a_new_role_holds_from_the_next_look(self, database, admin, member):
        accounts.set_role(admin, database, user_id=member.user_id, role="analyst")
        assert sign_in.find_viewer(database, member.login_id).role == "analyst"

    def test_cannot_disable_or_demote_themselves(self, database, admin):
        with pytest.raises(BadInputError, match="another admin"):
            accounts.set_disabled(admin, database, user_id=admin.user_id, disabled=True)
        with pytest.raises(BadInputError, match="another admin"):
            accounts.set_role(admin, database, user_id=admin.user_id, role="member")

    def test_cannot_remove_each_other_at_the_same_moment(self, database, admin, member):
        accounts.set_role(admin, database, user_id=member.user_id, role="admin")
        second = sign_in.find_viewer(database, member.login_id)
        accounts.set_role(admin, database, user_id=second.user_id, role="member")
        with pytest.raises(ForbiddenError, match="no longer an admin"):
            accounts.set_role(second, database, user_id=admin.user_id, role="member")

    def test_an_account_that_is_not_there_is_not_found(self, database, admin):
        with pytest.raises(NotFoundError):
            accounts.set_role(admin, database, user_id="user_0000000000000_000000000000", role="member")

    @pytest.mark.parametrize("role", ["member", "analyst"])
    def test_nobody_else_may(self, database, admin, member, role):
        viewer = Viewer(member.user_id, "mo", role, member.login_id)
        deeds = [
            lambda: accounts.list_accounts(viewer, database),
            lambda: accounts.create_account(viewer, database, name="x", password=PASSWORD, role="admin"),
            lambda: accounts.set_role(viewer, database, user_id=viewer.user_id, role="admin"),
            lambda: accounts.set_disabled(viewer, database, user_id=admin.user_id, disabled=True),
        ]
        for deed in deeds:
            with pytest.raises(ForbiddenError):
                deed()
        assert [account.name for account in accounts.list_accounts(admin, database)] == ["ada", "mo"]

    def test_a_role_that_is_only_claimed_does_not_help(self, database, admin, member):
        forged = Viewer(member.user_id, "mo", "admin", member.login_id)
        with pytest.raises(ForbiddenError, match="no longer an admin"):
            accounts.set_disabled(forged, database, user_id=admin.user_id, disabled=True)


class TestChangingThePassword:
    def test_ends_the_other_logins_and_keeps_this_one(self, database, admin):
        other = enter(database, "ada")
        accounts.change_password(admin, database, old=PASSWORD, new="battery staple")
        assert sign_in.find_viewer(database, admin.login_id) == admin
        assert sign_in.find_viewer(database, other.login_id) is None
        assert enter(database, "ada", "battery staple").name == "ada"
        fail(database)

    def test_needs_the_old_one(self, database, admin):
        with pytest.raises(BadInputError, match="current password is wrong"):
            accounts.change_password(admin, database, old="not the password", new="battery staple")
        assert enter(database, "ada").name == "ada"

    def test_waits_after_failures_as_sign_in_does(self, database, admin):
        for _ in range(5):
            with pytest.raises(BadInputError):
                accounts.change_password(admin, database, old="not the password", new="battery staple")
        with pytest.raises(BusyError, match="try again in"):
            accounts.change_password(admin, database, old=PASSWORD, new="battery staple")

    def test_a_new_one_too_short_costs_no_attempt(self, database, admin):
        with pytest.raises(BadInputError, match="8 to 1000"):
            accounts.change_password(admin, database, old=PASSWORD, new="short")
        with database.read() as session:
            assert session.exec(select(SignInFailure)).all() == []


class TestTheSecretKey:
    def test_is_made_once_for_its_owner_only(self, tmp_path):
        settings = load_settings(data_dir=tmp_path / "data", _env_file=None)
        key = load_secret_key(settings)
        path = tmp_path / "data" / "secret.key"
        assert re.fullmatch(r"[0-9a-f]{64}", key)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert load_secret_key(settings) == key
        assert list(path.parent.iterdir()) == [path]

    def test_is_the_same_for_all_who_start_at_once(self, tmp_path):
        settings = load_settings(data_dir=tmp_path, _env_file=None)
        start = threading.Barrier(16)

        def load(_number):
            start.wait()
            return load_secret_key(settings)

        with ThreadPoolExecutor(16) as pool:
            assert len(set(pool.map(load, range(16)))) == 1

    def test_comes_from_the_settings_first(self, tmp_path):
        settings = load_settings(data_dir=tmp_path, secret_key="k" * 32, _env_file=None)
        assert load_secret_key(settings) == "k" * 32
        assert list(tmp_path.iterdir()) == []

    def test_a_damaged_one_stops_the_start(self, tmp_path):
        Path(tmp_path / "secret.key").write_text("short")
        with pytest.raises(SettingsError, match="damaged"):
            load_secret_key(load_settings(data_dir=tmp_path, _env_file=None))


def test_find_viewer_uses_indexes_only(database, admin):
    with database.read() as session:
        query = select(Login).join(User, col(User.user_id) == Login.user_id).where(Login.login_id == "x")
        plan = session.connection().exec_driver_sql(
            "EXPLAIN QUERY PLAN " + str(query.compile(compile_kwargs={"literal_binds": True}))
        )
        assert [row[3] for row in plan if "SCAN" in row[3]] == []
