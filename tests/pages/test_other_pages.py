"""Who gets which page, and what the account, accounts and running-now pages do."""

import pytest

from core.access.accounts import create_account, list_accounts
from core.history.messages import NewMessage
from core.skein import open_skein
from tests.conftest import make_settings
from tests.core.support import wait_until
from tests.pages.conftest import button_named, has_button, person_named, said, say, texts

PASSWORD = "correct horse battery"


def texts_of(at, page: str) -> str:
    at.switch_page(page).run()
    assert at.exception.values == []
    return texts(at)


class TestWhoMayOpenWhat:
    @pytest.mark.parametrize("page", ["chat.py", "live.py", "calls.py", "account.py"])
    @pytest.mark.parametrize("role", ["member", "analyst", "admin"])
    def test_everybody_signed_in_opens_the_common_pages(self, tab, page, role):
        at = tab("ada", role=role).switch_page(page).run()
        assert at.exception.values == []
        assert [title.value for title in at.title] != ["You are signed out"]

    def test_accounts_opens_for_admins(self, tab):
        assert "Members see their own work" in texts_of(tab("root", role="admin"), "admin.py")

    @pytest.mark.parametrize("role", ["member", "analyst"])
    def test_accounts_is_no_page_for_anybody_else(self, tab, role):
        at = tab("ada", role=role)
        with pytest.raises(ValueError, match="Could not find a navigation page"):
            at.switch_page("admin.py")

    @pytest.mark.parametrize("login", [{}, {"login_id": "login_1795214478774_4CW9G9F475EY"}, {"login_id": None}])
    def test_a_guest_sees_one_sentence_and_the_way_in(self, tab, login):
        at = tab()
        at.user = login
        at.run()
        assert [title.value for title in at.title] == ["You are signed out"]
        assert (len(at.chat_input), len(at.button), len(at.menu_button)) == (0, 0, 0)

    def test_a_role_that_was_taken_away_closes_the_page_at_the_next_rerun(self, tab, opened):
        at = tab("root", role="admin").switch_page("admin.py").run()
        _set_role(opened, "root", "member")
        assert "Members see their own work" not in texts(at.run())


class TestSigningOut:
    def test_the_menu_signs_out(self, tab):
        at = tab("ada").menu_button(key="frame.menu").click("Sign out").run()
        assert [title.value for title in at.title] == ["You are signed out"]

    def test_everywhere_ends_the_other_tab_too(self, tab):
        here, there = tab("ada").switch_page("account.py").run(), tab("ada")
        here.button(key="account.sign_out_everywhere").click().run()
        assert [title.value for at in (here, there.run()) for title in at.title] == ["You are signed out"] * 2

    def test_another_persons_tab_stays(self, tab):
        other = tab("ben")
        tab("ada").switch_page("account.py").run().button(key="account.sign_out_everywhere").click().run()
        assert len(other.run().chat_input) == 1


class TestTheAccountPage:
    @pytest.fixture
    def account(self, tab, opened):
        root = person_named(opened, "root", "admin")
        create_account(root, opened.database, name="ada", password=PASSWORD, role="member")
        return tab("ada").switch_page("account.py").run()

    def change(self, at, old: str, new: str, again: str):
        at.text_input(key="account.old").set_value(old)
        at.text_input(key="account.new").set_value(new)
        at.text_input(key="account.again").set_value(again)
        return at.button(key="account.change").click().run()

    def test_it_lists_where_one_is_signed_in(self, account):
        assert account.dataframe[0].value["Here"].tolist() == [True]

    def test_a_new_password_is_taken(self, account):
        at = self.change(account, PASSWORD, "another horse battery", "another horse battery")
        assert [note.value[:23] for note in at.success] == ["The password is changed"]

    @pytest.mark.parametrize(
        ("typed", "sentence"),
        [
            ((PASSWORD, "another horse", "another hose"), "The two new passwords differ"),
            (("wrong", "another horse", "another horse"), "The current password is wrong"),
            ((PASSWORD, "short", "short"), "Please choose a password of 8"),
        ],
    )
    def test_a_mistake_is_said(self, account, typed, sentence):
        at = self.change(account, *typed)
        assert [error.value.startswith(sentence) for error in at.error] == [True]
        assert len(at.success) == 0


class TestTheAccountsPage:
    @pytest.fixture
    def admin(self, tab):
        return tab("root", role="admin").switch_page("admin.py").run()

    def create(self, at, name: str, password: str = PASSWORD, role: str = "member"):
        at.text_input(key="admin.name").set_value(name)
        at.text_input(key="admin.password").set_value(password)
        at.selectbox(key="admin.role").set_value(role)
        return at.button(key="admin.create_account").click().run()

    def test_a_new_account_is_listed_and_the_form_emptied(self, admin):
        at = self.create(admin, "Grace", role="analyst")
        assert at.dataframe[0].value[["Name", "Role"]].values.tolist() == [["grace", "analyst"], ["root", "admin"]]
        assert [note.value for note in at.success] == ["grace can sign in now."]
        assert at.text_input(key="admin.name").value == ""

    def test_a_taken_name_is_said_and_what_was_typed_stays(self, admin):
        at = self.create(self.create(admin, "Grace"), "grace")
        assert [error.value for error in at.error] == [
            "There is an account named grace already; please choose another name."
        ]
        assert at.text_input(key="admin.name").value == "grace"

    def test_a_role_is_changed_and_an_account_disabled_and_enabled(self, admin, opened):
        at = self.create(admin, "grace")
        grace = person_named(opened, "grace")
        at.selectbox(key=f"admin.role.{grace.user_id}").set_value("analyst").run()
        at.button(key="admin.set_role").click().run()
        assert [note.value for note in at.success] == ["grace is now analyst."]
        at.button(key="admin.set_disabled").click().run()
        assert at.dataframe[0].value["State"].tolist() == ["disabled", "you"]
        at.button(key="admin.set_disabled").click().run()
        assert at.dataframe[0].value["State"].tolist() == ["enabled", "you"]
        root = person_named(opened, "root")
        assert [row.role for row in list_accounts(root, opened.database)] == ["analyst", "admin"]


class TestRunningNow:
    @pytest.fixture
    def settings(self, tmp_path):
        """A pace at which an answer is still being written when it is looked at."""
        return make_settings(
            tmp_path, demo_tokens_per_second=20, max_runs_per_user=1, max_queued_per_user=1, drain_seconds=0
        )

    def start(self, opened, name: str, text: str):
        viewer = person_named(opened, name)
        added = opened.engine.start(viewer, NewMessage(text))
        return viewer, added

    def test_nothing_runs_at_first(self, tab):
        assert "Nothing is running." in texts_of(tab("ada"), "live.py")

    def test_a_person_sees_and_stops_their_own(self, tab, opened):
        ada, added = self.start(opened, "ada", "Pears, 2000 tokens")
        self.start(opened, "ben", "Plums, 2000 tokens")
        at = tab("ada").switch_page("live.py").run()
        assert ("Pears" in texts(at), "Plums" in texts(at)) == (True, False)
        at.button(key=f"live.stop.{added.thread_id}").click().run()
        wait_until(lambda: opened.engine.active(ada) == [])
        assert "Nothing is running." in texts(at.run())

    def test_an_admin_sees_everybodys(self, tab, opened):
        self.start(opened, "ada", "Pears, 2000 tokens")
        self.start(opened, "ben", "Plums, 2000 tokens")
        shown = texts_of(tab("root", role="admin"), "live.py")
        assert ("Pears" in shown, "Plums" in shown, "**2** running" in shown) == (True, True, True)

    def test_what_another_process_runs_is_seen_and_stopped_too(self, tab, opened, settings):
        ada = person_named(opened, "ada")
        other = open_skein(settings)
        try:
            added = other.engine.start(ada, NewMessage("Pears, 2000 tokens"))
            wait_until(lambda: [run.place for run in other.engine.active(ada)] == [None])
            at = tab("ada").switch_page("live.py").run()
            assert ("Pears" in texts(at), "running in another process" in texts(at)) == (True, True)
            at.button(key=f"live.stop.{added.thread_id}").click().run()
            wait_until(lambda: other.engine.active(ada) == [])
            wait_until(lambda: "Nothing is running." in texts(at.run()))
        finally:
            other.close()

    def test_a_message_for_which_there_is_no_room_is_kept(self, tab, opened):
        self.start(opened, "ada", "Pears, 2000 tokens")
        self.start(opened, "ada", "Plums, 2000 tokens")
        at = say(tab("ada"), "Write 10 tokens")
        assert said(at) == []
        assert [warning.value[:32] for warning in at.warning] == ["1 of your messages are waiting a"]
        assert "Write 10 tokens" in texts(at)
        assert has_button(at, "Send it")
        button_named(at, "Discard").click().run()
        assert not has_button(at, "Send it")

    def test_an_example_for_which_there_is_no_room_is_kept_too(self, tab, opened):
        self.start(opened, "ada", "Pears, 2000 tokens")
        self.start(opened, "ada", "Plums, 2000 tokens")
        at = tab("ada").button_group(key="chat.example").select("Write a table").run()
        assert (said(at), has_button(at, "Send it")) == ([], True)


def _set_role(skein, name: str, role: str) -> None:
    from sqlmodel import select

    from core.tables import User

    def job(db) -> None:
        db.exec(select(User).where(User.name == name)).one().role = role

    skein.database.write(job)
