"""The page of retention rules: a rule is previewed, saved, run and deleted; and the erasing of an account."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from core.database import table_of
from core.history.sessions import get_session
from core.records import retention
from core.tables import Conversation, Session, utc_now
from tests.core.working import say
from tests.pages.conftest import button_named, has_button, opened_popover, person_named, texts


@pytest.fixture
def page(tab: Any) -> Any:
    return tab("root", role="admin").switch_page("retention.py").run()


def old_session(opened: Any, name: str) -> str:
    """A session that nobody used for 100 days."""
    added = say(opened.database, person_named(opened, name), "hello")
    at = utc_now() - timedelta(days=100)

    def job(db: Any) -> None:
        for table in (Session, Conversation):
            db.connection().execute(update(table_of(table)).values(updated_at=at))
        db.connection().exec_driver_sql("UPDATE thread SET status = 'done'")

    opened.database.write(job)
    return added.session_id


class TestRules:
    def test_a_rule_is_previewed_saved_run_and_deleted(self, page: Any, opened: Any) -> None:
        session_id = old_session(opened, "alice")
        page.text_input(key="retention.widget.new.name").set_value("Old ones").run()
        page.button(key="retention.preview").click().run()
        assert "it would archive **1** sessions with **1** messages." in texts(page)
        assert not has_button(page, "Run it now")
        page.button(key="retention.save").click().run()
        assert "Old ones is saved, and off." in texts(page)
        assert page.dataframe[0].value[["Name", "On"]].values.tolist() == [["Old ones", False]]

        root = person_named(opened, "root", "admin")
        with opened.database.read() as db:
            [row] = retention.list_rules(root, db)
        page.selectbox(key="retention.chosen").set_value(row.retention_id).run()
        page.button(key="retention.preview").click().run()
        button_named(page, "Run it now").click().run()
        assert "1 sessions are done." in texts(page)
        with opened.database.read() as db:
            assert get_session(root, db, session_id).status == "archived"

        button_named(page, "Delete rule").click().run()
        assert "There is no rule yet" in texts(page)

    def test_fields_that_were_changed_are_previewed_and_saved_before_they_are_run(
        self, page: Any, opened: Any
    ) -> None:
        old_session(opened, "alice")
        root = person_named(opened, "root", "admin")
        rule = retention.Rule("Old ones", "archive", 90)
        rule_id = opened.database.write(lambda db: retention.add_rule(root, db, rule))
        page.run()
        page.selectbox(key="retention.chosen").set_value(rule_id).run()
        page.button(key="retention.preview").click().run()
        assert has_button(page, "Run it now")
        page.selectbox(key=f"retention.widget.{rule_id}.action").set_value("delete").run()
        assert not has_button(page, "Run it now")
        page.button(key="retention.preview").click().run()
        button_named(page, "Run it now").click().run()
        assert "please save the rule first" in texts(page)

    def test_what_makes_no_sense_is_said_and_stays(self, page: Any) -> None:
        page.button(key="retention.save").click().run()
        assert "A rule needs a name" in texts(page)
        page.text_input(key="retention.widget.new.tag").set_value("a,b").run()
        page.button(key="retention.preview").click().run()
        assert "no commas" in texts(page)
        assert page.text_input(key="retention.widget.new.tag").value == "a,b"

    @pytest.mark.parametrize("role", ["member", "analyst"])
    def test_is_for_admins_alone(self, tab: Any, role: str) -> None:
        at = tab("bob", role=role)
        with pytest.raises(ValueError, match="Could not find a navigation page"):
            at.switch_page("retention.py")


class TestErasing:
    def test_an_account_is_erased_once_its_name_is_typed(self, tab: Any, opened: Any) -> None:
        session_id = old_session(opened, "alice")
        alice = person_named(opened, "alice")
        at = tab("root", role="admin").switch_page("admin.py").run()
        at.selectbox(key="admin.account").set_value(alice.user_id).run()
        opened_popover(at, f"admin.erasing.{alice.user_id}")
        assert "**1** sessions with **1** messages" in texts(at)
        assert at.button(key="admin.erase").disabled
        at.text_input(key=f"admin.erase.{alice.user_id}").set_value("alice").run()
        at.button(key="admin.erase").click().run()
        assert "alice is erased." in texts(at)
        with opened.database.read() as db:
            assert db.get(Session, session_id) is None
