"""The way to an export: asked for, followed to its end, taken, and nobody else's."""

import pytest
from streamlit.testing.v1 import AppTest

from core.history.messages import NewMessage
from core.records.export.jobs import Job
from pages.parts.browse.export_view import say_progress
from tests.core.support import wait_until
from tests.pages.conftest import has_button, person_named, texts


def _page() -> None:
    """A page that only has the export of all that this person owns."""
    import streamlit as st
    from sqlmodel import select

    from core.skein import current_skein
    from core.tables import Session
    from pages.parts.browse.export_view import draw_export, draw_exports
    from tests.pages.conftest import person_named

    skein = current_skein()
    viewer = person_named(skein, st.query_params["who"])
    with skein.database.read() as db:
        ids = list(db.exec(select(Session.session_id)))
    draw_export(skein, viewer, ids)
    draw_exports(skein, viewer)


@pytest.fixture
def page(opened):
    """Opens it: ``page("ada")``, with one session of Ada's that was really talked in."""
    ada = person_named(opened, "ada")
    opened.engine.start(ada, NewMessage("hello"))
    wait_until(lambda: opened.engine.active(ada) == [])

    def open_page(name: str) -> AppTest:
        at = AppTest.from_function(_page, default_timeout=20)
        at.query_params["who"] = name
        at.run()
        assert at.exception.values == []
        return at

    return open_page


def test_an_export_is_asked_for_and_waits_for_whoever_comes_back(opened, page):
    ada = person_named(opened, "ada")
    at = page("ada")
    at.button(key="export.start").click().run()
    assert at.exception.values == []
    wait_until(lambda: all(job.is_over for job in opened.exports.list_exports(ada)))
    [job] = opened.exports.list_exports(ada)
    later = page("ada")
    assert job.summary is not None
    assert later.code[0].value.endswith(f"--sha256 {job.summary.sha256}")
    assert has_button(later, "Remove")
    later.button(key=f"export.{job.export_id}.forget").click().run()
    assert (later.exception.values, opened.exports.list_exports(ada)) == ([], [])
    assert not job.summary.path.exists()


def test_what_is_not_theirs_is_one_sentence(opened, page):
    at = page("eve")
    at.button(key="export.start").click().run()
    assert "There is no session" in texts(at)
    assert opened.exports.list_exports(person_named(opened, "eve")) == []


def test_progress_is_told_in_one_line():
    job = Job("export_1", "waiting", 1_200)
    assert say_progress(job) == "Waiting for its turn · 1,200 sessions"
    working = Job("export_1", "working", 1_200, 300, "Writing the sessions")
    assert say_progress(working) == "Writing the sessions · 300 of 1,200 sessions · 0 ms"
