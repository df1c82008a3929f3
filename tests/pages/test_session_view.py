"""A session opened on the Browse page: what it shows, what can be said of it, and to whom it is not there."""

import pytest
from sqlmodel import select

from core.history.annotations import add_tag, find_marks, set_review
from core.history.artifacts import write_version
from core.history.browse.counting import count_changed
from core.history.browse.orders import Order, Place
from core.history.messages import NewMessage
from core.tables import Activity, SessionToCount, utc_now
from tests.core.support import wait_until
from tests.pages.conftest import button_named, person_named, texts


@pytest.fixture
def session_id(opened):
    """A session of Ada's with one answered message."""
    ada = person_named(opened, "ada")
    added = opened.engine.start(ada, NewMessage("Where are my **pears**?"))
    wait_until(lambda: opened.engine.active(ada) == [])
    wait_until(lambda: not count_changed(opened.database) and _is_counted(opened))
    return added.session_id


def _is_counted(skein) -> bool:
    with skein.database.read() as db:
        return db.exec(select(SessionToCount)).first() is None


@pytest.fixture
def show(tab):
    """Opens it: ``show(session_id, "ben", role="analyst", tab="timeline")``."""

    def show(session_id: str, name: str = "ada", *, role: str = "member", **query: str):
        at = tab(name, role=role)
        at.switch_page("browse.py")
        for key, value in {"session": session_id, **query}.items():
            at.query_params[key] = value
        return ran(at)

    return show


def ran(tab_or_widget):
    at = tab_or_widget.run()
    assert at.exception.values == []
    return at


def marks_of(opened, name: str, session_id: str):
    with opened.database.read() as db:
        return find_marks(person_named(opened, name), db, [session_id]).get(session_id)


class TestWhatItShows:
    def test_its_figures_and_conversations(self, show, session_id):
        at = show(session_id)
        figures = {metric.label: metric.value for metric in at.metric}
        assert (figures["Messages"], figures["Branches"]) == ("1", "1")
        assert figures["Cost"] in {"free", "$0.00"}
        assert "Where are my \\*\\*pears\\*\\*?" in texts(at)
        assert "Threads: 1 done" in texts(at)
        assert list(at.dataframe[0].value["Title"]) == ["Where are my **pears**?"]

    def test_its_threads(self, show, session_id):
        frame = show(session_id, tab="threads").dataframe[0].value
        assert list(frame["Status"]) == ["done"]

    def test_its_artifacts(self, opened, show, session_id):
        assert "No artifact was made" in texts(show(session_id, tab="artifacts"))
        ada = person_named(opened, "ada")
        opened.database.write(
            lambda db: write_version(
                ada,
                db,
                session_id=session_id,
                kind="file",
                name="pears.md",
                content=b"# Pears",
                media_type="text/markdown",
                by_hand=True,
            )
        )
        frame = show(session_id, tab="artifacts").dataframe[0].value
        assert list(frame["Name"]) == ["pears.md"]
        assert list(frame["Size"]) == ["7 bytes"]

    def test_what_happened_and_who_did_what(self, opened, show, session_id):
        ann = person_named(opened, "ann", "analyst")
        opened.database.write(lambda db: add_tag(ann, db, session_id, "fruit"))
        frame = show(session_id, tab="timeline").dataframe[0].value
        assert list(frame["Who"]) == ["ann", "ada"]
        assert list(frame["About"]) == [
            "Put on a tag",
            "Where are my **pears**?",
        ]
        narrowed = show(session_id, tab="timeline", about="errors")
        assert "Nothing of this kind" in texts(narrowed)

    @pytest.mark.parametrize("query", [{"tab": "pears"}, {"tab": "timeline", "before": "soon"}])
    def test_an_address_that_is_wrong_costs_a_sentence_at_most(self, show, session_id, query):
        assert show(session_id, **query).exception.values == []

    @pytest.mark.parametrize("name", ["conversations", "threads", "timeline"])
    def test_a_page_that_is_not_there_is_said_and_leads_to_the_first_one(self, show, session_id, name):
        before = Order().cursor_at(Place(utc_now(), "conv_9")) if name != "conversations" else "2026-01-01~msg_9"
        at = show(session_id, tab=name, before=before)
        assert [len(at.warning), len(at.dataframe)] == [1, 0]
        ran(button_named(at, "To the first page").click())
        assert [len(at.warning), len(at.dataframe)] == [0, 1]


class TestWhoSeesIt:
    @pytest.mark.parametrize(
        "wrong", ["session_1795254295369_0NGCBM3NQAV6", "pears", "conv_1795254295369_0NGCBM3NQAV6"]
    )
    def test_one_that_is_not_there_costs_one_sentence(self, show, wrong):
        at = show(wrong)
        assert len(at.warning) == 1
        assert len(at.metric) == 0

    def test_it_is_not_there_for_another_member(self, show, session_id):
        at = show(session_id, "mallory")
        assert [warning.value[:29] for warning in at.warning] == ["There is no such session here"]
        assert "pears" not in texts(at)

    def test_an_analyst_sees_it_and_that_is_on_record_once(self, opened, show, session_id):
        for _ in range(2):
            at = show(session_id, "ann", role="analyst")
        ran(at)
        assert "ada" in texts(at)
        assert "New conversation" not in [button.label for button in at.button]
        with opened.database.read() as db:
            looks = db.exec(select(Activity).where(Activity.kind == "session.read")).all()
        # Each tab came by a sign-in of its own.
        assert [look.target_id for look in looks] == [session_id, session_id]


class TestWhatOneSaysOfIt:
    def test_a_star_goes_on_and_off(self, opened, show, session_id):
        at = show(session_id)
        button_named(at, "☆").click()
        ran(at)
        assert marks_of(opened, "ada", session_id).starred
        button_named(at, "★").click()
        ran(at)
        assert marks_of(opened, "ada", session_id) is None

    def test_a_tag_is_put_on_and_taken_off(self, opened, show, session_id):
        at = show(session_id)
        at.multiselect(key="session.mark.tags").set_value(["fruit"])
        ran(at)
        assert [tag.name for tag in marks_of(opened, "ada", session_id).tags] == ["fruit"]
        at.multiselect(key="session.mark.tags").set_value([])
        ran(at)
        assert marks_of(opened, "ada", session_id) is None

    def test_what_an_analyst_says_is_seen_by_analysts(self, opened, show, session_id):
        ann = person_named(opened, "ann", "analyst")
        opened.database.write(lambda db: set_review(ann, db, session_id, "bad", "No *pears*"))
        assert "No \\*pears\\*" in texts(show(session_id, "bob", role="analyst"))
        assert "No" not in texts(show(session_id, "ada")).split()


class TestWhatCanBeDone:
    def test_its_owner_is_offered_all(self, show, session_id):
        at = show(session_id)
        assert at.menu_button(key="session.menu").options == [
            "Rename",
            "Export",
            "Save as template",
            "Archive",
            "Delete",
        ]

    @pytest.mark.parametrize(
        ("role", "ways"),
        [
            ("analyst", ["Export", "Save as template"]),
            ("admin", ["Export", "Save as template", "Archive", "Delete"]),
        ],
    )
    def test_others_are_offered_what_they_may(self, show, session_id, role, ways):
        assert show(session_id, "oz", role=role).menu_button(key="session.menu").options == ways
