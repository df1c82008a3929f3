"""The Browse page: what each person finds, what its address means, and what can be done with what is found."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from sqlmodel import select
from streamlit.proto.WidgetStates_pb2 import WidgetStates

from core.errors import NotFoundError
from core.history.annotations import add_tag, find_marks, set_review
from core.history.browse.counting import count_changed
from core.history.browse.lines import Hit
from core.history.messages import NewMessage
from core.history.search import index_messages
from core.history.sessions import create_session, get_session
from core.history.templates import Draft, list_templates, save_template
from core.tables import MessageToIndex, Session, SessionToCount, Thread
from pages.parts.browse.browse_query import chips, rewritten
from pages.parts.browse.browse_rows import cost_of, describe_hit, describe_threads
from pages.parts.browse.browse_url import read_place
from tests.core.support import wait_until
from tests.pages.conftest import button_named, has_button, opened_popover, person_named, said, texts

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)


def place_of(zone: str | None = "Asia/Shanghai", **query: str):
    return read_place({name: [value] for name, value in query.items()}, now=NOW, zone=zone)


class TestTheAddress:
    def test_it_says_list_query_order_and_page(self):
        place = place_of(list="threads", q="status:failed", sort="created", down="0", after="x")
        assert (place.tab, place.table, place.wanted.statuses) == ("threads", "threads", ("failed",))
        assert (place.order.sort, place.order.descending, place.after) == ("created", False, "x")

    def test_what_it_does_not_know_costs_one_sentence_each_and_the_rest_holds(self):
        place = place_of(list="pears", sort="weight", down="7", q="user:ada")
        assert [problem[:22] for problem in place.problems] == [
            "The address has list='",
            "The address has sort='",
            "The address has down='",
        ]
        assert (place.tab, place.order.sort, place.wanted.users) == ("sessions", "active", ("ada",))

    def test_a_query_that_cannot_be_understood_is_kept_and_said(self):
        place = place_of(q="stats:failed")
        assert (place.query, "status" in place.unclear) == ("stats:failed", True)

    def test_words_are_sorted_from_a_to_z_and_numbers_from_the_largest_down(self):
        assert [place_of(sort=sort).order.descending for sort in ("title", "user", "cost", "active")] == [
            False,
            False,
            True,
            True,
        ]

    def test_a_sort_of_another_list_is_kept_and_not_used(self):
        place = place_of(list="threads", sort="cost")
        assert (place.order.sort, place.problems) == ("created", ())

    @pytest.mark.parametrize("zone", [None, "", "Nowhere/Land", "../etc/passwd"])
    def test_a_browser_without_a_known_time_zone_reads_utc(self, zone):
        assert place_of(zone).tz == ZoneInfo("UTC")


class TestRewritingTheQuery:
    def test_a_chip_for_each_value_and_one_for_the_words(self):
        place = place_of(q='refund user:ada,ben cost>0.5 "two weeks"')
        assert [(chip.text, chip.without) for chip in chips(place)] == [
            ("user:ada", 'refund user:ben cost>0.5 "two weeks"'),
            ("user:ben", 'refund user:ada cost>0.5 "two weeks"'),
            ("cost>0.5", 'refund user:ada,ben "two weeks"'),
            ('refund "two weeks"', "user:ada,ben cost>0.5"),
        ]

    def test_a_widget_changes_its_own_terms_and_no_others(self):
        place = place_of(q="退款 user:ada  status:failed,archived")
        assert rewritten(place, {"statuses"}, [("status", "lost")]) == "退款 user:ada  status:archived status:lost"

    def test_what_a_widget_takes_away_is_found_by_its_meaning(self):
        place = place_of(q="has:error refund")
        assert rewritten(place, {"has_errors"}, []) == "refund"

    def test_a_limit_is_changed_alone(self):
        place = place_of(q="cost>0.5 tokens>10k")
        assert rewritten(place, {"cost"}, [("cost", ">=2")]) == "tokens>10k cost>=2"

    def test_an_unclear_query_has_no_chips(self):
        assert chips(place_of(q="user:")) == []


class TestRows:
    def test_threads_are_told_worst_first(self):
        assert describe_threads({"done": 1_200, "waiting": 1, "failed": 2}) == "2 failed · 1 waiting · 1,200 done"

    def test_a_place_in_a_text_is_shown_with_what_was_looked_for(self):
        hit = Hit("msg_1", "conv_1", "question", (("请问 ", False), ("退款", True), (" 怎么\n办", False)))
        assert describe_hit(hit) == "asked: 请问 «退款» 怎么 办"

    def test_of_a_long_text_the_place_itself_is_in_sight(self):
        hit = Hit("msg_1", "conv_1", "answer", (("根据合同第七条,客户可以在三十天内申请", False), ("退款", True)))
        assert describe_hit(hit) == "answered: …以在三十天内申请«退款»"

    @pytest.mark.parametrize(
        ("usd", "calls", "unpriced", "words"),
        [(0.0, 3, 0, "free"), (0.0, 3, 1, "unpriced"), (0.5, 3, 1, "at least $0.50"), (0.5, 3, 0, "$0.50")],
    )
    def test_what_has_no_price_is_never_shown_as_nothing(self, usd, calls, unpriced, words):
        assert cost_of(usd, calls=calls, unpriced=unpriced) == words


@pytest.fixture
def ask(opened):
    """Lets a person ask something, and waits until it is answered, counted and can be found."""

    def ask(name: str, text: str, *, role: str = "member"):
        viewer = person_named(opened, name, role)
        added = opened.engine.start(viewer, NewMessage(text))
        wait_until(lambda: opened.engine.active(viewer) == [])
        settle(opened)
        return added

    return ask


def settle(skein) -> None:
    """Until everything is counted and indexed, by this thread or the one in the background."""
    assert skein.call_log.flush()
    wait_until(lambda: not (count_changed(skein.database) or index_messages(skein.database) or _waiting(skein)))


def _waiting(skein) -> bool:
    with skein.database.read() as db:
        return any(db.exec(select(table)).first() is not None for table in (SessionToCount, MessageToIndex))


@pytest.fixture
def browse(tab):
    """Opens the page: ``browse("ada", role="analyst", q="user:ben")``."""

    def open_browse(name: str, *, role: str = "member", **query):
        at = tab(name, role=role)
        at.switch_page("browse.py")
        for key, value in query.items():
            at.query_params[key] = value
        return ran(at)

    return open_browse


def ran(tab_or_widget):
    at = tab_or_widget.run()
    assert at.exception.values == []
    return at


def chose(at, menu: str, way: str):
    """The page, asked for a dialog of a menu, which then stands until it is done with."""
    at.menu_button(key=menu).click(way)
    return at


def rows(at):
    """The table as it is shown."""
    return at.dataframe[0].value


def titles(at) -> list[str]:
    return list(rows(at)["Title"]) if len(at.dataframe) else []


def query_of(at) -> str:
    value = at.query_params.get("q", "")
    return value if isinstance(value, str) else value[0] if value else ""


def search(at, text: str):
    at.text_input(key="browse.widget.q").set_value(text)
    return ran(at)


def status_of(skein, session_id: str) -> str:
    with skein.database.read() as db:
        return db.get(Session, session_id).status


class TestAnEmptyHouse:
    @pytest.mark.parametrize("role", ["member", "analyst", "admin"])
    def test_it_says_how_to_begin(self, browse, role):
        at = browse("ada", role=role)
        assert len(at.dataframe) == 0
        assert [info.value[:17] for info in at.info] == ["No session is her"]

    @pytest.mark.parametrize("tab_name", ["conversations", "threads", "review", "activity"])
    def test_every_list_opens(self, browse, tab_name):
        assert browse("ada", list=tab_name).exception.values == []


class TestWhoFindsWhat:
    def test_a_member_finds_only_own_sessions(self, browse, ask):
        ask("ada", "Pears")
        ask("ben", "Plums")
        at = browse("ada")
        assert titles(at) == ["Pears"]
        assert "User" not in rows(at).columns

    def test_an_analyst_finds_everybodys_and_whose_they_are(self, browse, ask):
        ask("ada", "Pears")
        ask("ben", "Plums")
        at = browse("ana", role="analyst")
        assert list(zip(titles(at), rows(at)["User"], strict=True)) == [("Plums", "ben"), ("Pears", "ada")]

    def test_the_lists_of_conversations_and_threads_say_the_same(self, browse, ask):
        ask("ada", "Pears")
        ask("ben", "Plums")
        assert titles(browse("ada", list="conversations")) == ["Pears"]
        assert list(rows(browse("ada", list="threads"))["Message"]) == ["Pears"]

    def test_the_demo_model_is_free_and_not_zero(self, browse, ask):
        ask("ada", "Pears")
        assert list(rows(browse("ada"))["Cost"]) == ["free"]


class TestSearching:
    def test_what_was_said_is_found_with_its_place(self, browse, ask):
        ask("ada", "请帮我处理退款")
        ask("ada", "Plums")
        at = search(browse("ada"), "退款")
        assert len(rows(at)) == 1
        assert rows(at)["Found"][0].startswith("answered: ")
        assert "«退款»" in rows(at)["Found"][0]

    def test_a_mistake_is_said_below_the_box_and_nothing_typed_is_lost(self, browse, ask):
        ask("ada", "Pears")
        at = search(browse("ada"), "stats:failed")
        assert (query_of(at), len(at.dataframe)) == ("stats:failed", 0)
        assert at.text_input(key="browse.widget.q").value == "stats:failed"
        assert "status" in texts(at)

    def test_a_chip_takes_its_term_away(self, browse, ask):
        ask("ada", "Pears")
        at = browse("ada", q="status:failed title:pea")
        assert len(at.dataframe) == 0
        ran(at.button(key="browse.chip.0").click())
        assert (query_of(at), titles(at)) == ("title:pea", ["Pears"])

    def test_without_a_query_there_are_some_to_begin_with(self, browse, ask):
        ask("ada", "Pears")
        at = ran(button_named(browse("ada"), "Failed").click())
        assert (query_of(at), len(at.dataframe)) == ("status:failed", 0)

    def test_nothing_found_says_so_with_the_way_back(self, browse, ask):
        ask("ada", "Pears")
        at = browse("ada", q="title:plums")
        assert [info.value[:18] for info in at.info] == ["Nothing fits this."]
        assert titles(ran(button_named(at, "Clear the filter").click())) == ["Pears"]


class TestPaging:
    @pytest.fixture
    def many(self, opened):
        ada = person_named(opened, "ada")
        for number in range(60):
            opened.database.write(lambda db, number=number: create_session(ada, db, f"Session {number:02}"))
        settle(opened)

    def test_pages_follow_each_other_and_lead_back(self, browse, many):
        at = browse("ada", sort="title")
        first = titles(at)
        ran(at.button(key="browse.next").click())
        assert (len(first), titles(at)[0], len(titles(at))) == (50, "Session 50", 10)
        ran(at.button(key="browse.previous").click())
        assert titles(at) == first

    def test_another_order_begins_at_the_first_page(self, browse, many):
        at = ran(browse("ada", sort="title").button(key="browse.next").click())
        at.selectbox(key="browse.widget.order").select("title.1")
        assert titles(ran(at))[0] == "Session 59"

    def test_a_page_that_is_not_there_leads_to_the_first(self, browse, many):
        at = browse("ada", after="nonsense")
        assert len(at.warning) == 1
        assert len(titles(ran(at.button(key="browse.restart").click()))) == 50

    def test_all_of_them_can_be_chosen_and_archived(self, browse, many, opened):
        at = ran(browse("ada", q="title:session").button(key="browse.choose_all").click())
        assert "All 60 chosen" in texts(at)
        ran(chose(at, "browse.bulk", "Archive"))
        assert "**60 sessions** with nothing" in texts(at)
        ran(at.button(key="browse.bulk.do").click())
        settle(opened)
        assert len(ran(at).dataframe) == 0
        assert len(titles(browse("ada", q="status:archived"))) == 50

    def test_another_query_has_nothing_chosen(self, browse, many):
        at = ran(browse("ada").button(key="browse.choose_all").click())
        at = search(at, "title:session")
        assert "browse.bulk" not in [menu.key for menu in at.menu_button]
        assert "60 sessions" in texts(at)


class TestBulk:
    def choose(self, at, *ids: str):
        at.session_state["browse.chosen"] = ids
        return ran(at)

    def test_chosen_sessions_are_tagged(self, browse, ask, opened):
        added, ada = ask("ada", "Pears"), person_named(opened, "ada")
        opened.database.write(lambda db: add_tag(ada, db, added.message_id, "fruit"))
        at = self.choose(browse("ada"), added.session_id)
        ran(chose(at, "browse.bulk", "Tag"))
        ran(at.selectbox(key="browse.bulk.tag").set_value("fruit"))
        ran(at.button(key="browse.bulk.do").click())
        with opened.database.read() as db:
            marks = find_marks(ada, db, [added.session_id])
        assert [tag.name for tag in marks[added.session_id].tags] == ["fruit"]

    def test_a_deletion_says_what_it_touches_and_can_be_undone(self, browse, ask, opened):
        added = ask("ada", "Pears")
        at = self.choose(browse("ada"), added.session_id)
        ran(chose(at, "browse.bulk", "Delete"))
        assert "1 session** with 1 conversation, 1 message, 1 thread" in texts(at)
        ran(at.button(key="browse.bulk.do").click())
        assert status_of(opened, added.session_id) == "deleted"
        assert titles(at) == []
        ran(at.button(key="browse.undo").click())
        assert (status_of(opened, added.session_id), titles(at)) == ("active", ["Pears"])

    def test_an_analyst_deletes_nobody_elses(self, browse, ask, opened):
        added = ask("ada", "Pears")
        at = self.choose(browse("ana", role="analyst"), added.session_id)
        ran(at.menu_button(key="browse.bulk").click("Delete"))
        assert "1 more belong to somebody else" in texts(at)
        assert not any(button.key == "browse.bulk.do" for button in at.button)

    def test_what_a_member_may_not_see_is_not_even_counted(self, browse, ask):
        added = ask("ada", "Pears")
        at = self.choose(browse("ben"), added.session_id)
        ran(at.menu_button(key="browse.bulk").click("Tag"))
        assert "**0 sessions**" in texts(at)


class TestReviewing:
    @pytest.fixture
    def failed(self, ask, opened):
        added = ask("ada", "Pears")
        opened.database.write(lambda db: setattr(db.get(Thread, added.thread_id), "status", "failed"))
        settle(opened)
        return added

    def test_what_went_well_waits_for_no_review(self, browse, ask):
        ask("ada", "Pears")
        assert [note.value[:20] for note in browse("ana", role="analyst", list="review").success] == [
            "Nothing waits for a "
        ]

    def test_it_shows_what_was_said_and_why(self, browse, failed):
        at = browse("ana", role="analyst", list="review")
        assert "1 thread failed" in texts(at)
        assert [message.name for message in at.chat_message] == ["user", "assistant"]

    def test_a_verdict_with_score_and_comment_brings_the_next(self, browse, failed, opened):
        at = browse("ana", role="analyst", list="review")
        ran(at.button(key="browse.review.score.2").click())
        at.text_area[0].set_value("Too short")
        ran(at)
        ran(at.button(key="browse.review.bad").click())
        ana = person_named(opened, "ana")
        with opened.database.read() as db:
            mark = find_marks(ana, db, [failed.session_id])[failed.session_id]
        assert [(it.verdict, it.comment) for it in mark.reviews] == [("bad", "Too short")]
        assert [it.score for it in mark.scores] == [2]
        assert len(at.chat_message) == 0

    def test_a_score_that_arrives_together_with_its_verdict_and_behind_it_is_kept(
        self, browse, failed, opened, monkeypatch
    ):
        at = browse("ana", role="analyst", list="review")
        for name in ("score.2", "bad"):
            at.button(key=f"browse.review.{name}").click()
        together = at._tree.get_widget_states()
        newest_first = WidgetStates(widgets=reversed(together.widgets))
        monkeypatch.setattr(type(at._tree), "get_widget_states", lambda _tree: newest_first)
        ran(at)
        ana = person_named(opened, "ana")
        with opened.database.read() as db:
            mark = find_marks(ana, db, [failed.session_id])[failed.session_id]
        assert ([it.verdict for it in mark.reviews], [it.score for it in mark.scores]) == (["bad"], [2])

    def test_after_going_back_a_verdict_goes_on_and_not_to_the_end(self, browse, ask, opened, failed):
        other = ask("ada", "Plums")
        opened.database.write(lambda db: setattr(db.get(Thread, other.thread_id), "status", "failed"))
        settle(opened)
        at = ran(browse("ana", role="analyst", list="review").button(key="browse.review.skip").click())
        ran(at.button(key="browse.review.back").click())
        ran(at.button(key="browse.review.good").click())
        assert said(at)[:1] == [("user", "Pears")]

    def test_one_that_is_skipped_stays_for_later(self, browse, failed):
        at = ran(browse("ana", role="analyst", list="review").button(key="browse.review.skip").click())
        assert [note.value[:22] for note in at.info] == ["That was the last one;"]
        assert len(ran(at.button(key="browse.review.again").click()).chat_message) == 2

    def test_a_reviewed_one_is_not_shown_again(self, browse, failed, opened):
        ana = person_named(opened, "ana", "analyst")
        opened.database.write(lambda db: set_review(ana, db, failed.session_id, "good"))
        assert len(browse("ben", role="analyst", list="review").chat_message) == 0

    def test_members_review_only_their_own(self, browse, failed):
        assert len(browse("ben", list="review").chat_message) == 0
        assert len(browse("ada", list="review").chat_message) == 2


class TestNewSessions:
    def test_an_empty_one_gets_a_title_and_opens_in_the_chat(self, browse, opened):
        at = ran(browse("ada").menu_button(key="browse.new").click("Empty session"))
        at.text_input(key="browse.draft.empty").set_value("秋季计划")
        ran(at.button(key="browse.empty.do").click())
        ada = person_named(opened, "ada")
        session_id = at.query_params["session"]
        session_id = session_id if isinstance(session_id, str) else session_id[0]
        with opened.database.read() as db:
            assert get_session(ada, db, session_id).title == "秋季计划"

    def test_without_a_title_it_says_so(self, browse):
        at = ran(browse("ada").menu_button(key="browse.new").click("Empty session"))
        ran(at.button(key="browse.empty.do").click())
        assert [error.value[:13] for error in at.error] == ["A title needs"]

    def test_a_template_is_written_and_started_from(self, browse, opened):
        at = ran(browse("ada").menu_button(key="browse.new").click("Templates"))
        ran(at.button(key="browse.template.new").click())
        at.text_input(key="browse.draft.new.name").set_value("Weekly")
        at.text_area(key="browse.draft.new.message.0").set_value("What is new?")
        ran(at)
        at.text_area(key="browse.draft.new.message.1").set_value("And what is old?")
        ran(at)
        ran(at.button(key="browse.template.save").click())
        ada = person_named(opened, "ada")
        with opened.database.read() as db:
            kept = list_templates(ada, db)
        assert [(row.name, row.messages) for row in kept] == [("Weekly", ["What is new?", "And what is old?"])]
        at = ran(browse("ada").menu_button(key="browse.new").click("From a template"))
        ran(at.button(key="browse.from.do").click())
        wait_until(lambda: opened.engine.active(ada) == [])
        settle(opened)
        at = browse("ada")
        assert list(zip(titles(at), rows(at)["Messages"], strict=True)) == [("Weekly", "2")]

    def test_anothers_shared_template_is_copied_and_not_changed(self, browse, opened):
        ben = person_named(opened, "ben")
        draft = Draft("Standup", messages=("Hello",))
        opened.database.write(lambda db: save_template(ben, db, name="Standup", draft=draft, shared=True))
        at = ran(browse("ada").menu_button(key="browse.new").click("Templates"))
        assert has_button(at, "Copy")
        assert not has_button(at, "Edit")

    def test_a_template_is_made_from_a_chosen_session(self, browse, ask, opened):
        added = ask("ada", "Pears")
        at = browse("ada")
        at.session_state["browse.chosen"] = (added.session_id,)
        ran(at)
        ran(chose(at, "browse.bulk", "Make a template"))
        ran(at.button(key="browse.template.save").click())
        with opened.database.read() as db:
            kept = list_templates(person_named(opened, "ada"), db)
        assert [(row.name, row.messages) for row in kept] == [("Pears", ["Pears"])]

    def test_a_chosen_session_is_renamed(self, browse, ask):
        added = ask("ada", "Pears")
        at = browse("ada")
        at.session_state["browse.chosen"] = (added.session_id,)
        ran(at)
        ran(chose(at, "browse.bulk", "Rename"))
        at.text_input(key="branches.asked").set_value("Apples")
        ran(button_named(at, "Save").click())
        assert titles(at) == ["Apples"]


class TestSavedViews:
    def test_a_view_is_saved_and_opened_by_another_who_finds_their_own(self, browse, ask):
        ask("ada", "Pears and plums")
        ask("ben", "Plums")
        at = browse("ada", q="title:plums", sort="title")
        opened_popover(at, "browse.views").text_input(key="browse.name").set_value("Plums")
        ran(button_named(at, "Save this view").click())
        link = next(code.value for code in at.code if "view=" in code.value)
        other = browse("ben", view=link.partition("view=")[2])
        assert (query_of(other), titles(other)) == ("title:plums", ["Plums"])


class TestDeepLinks:
    @pytest.mark.parametrize("name", ["session", "thread"])
    def test_anothers_is_not_found(self, browse, ask, name):
        added = ask("ada", "Pears")
        value = added.session_id if name == "session" else added.thread_id
        at = browse("ben", **{name: value})
        assert "Pears" not in texts(at)
        assert len([*at.warning, *at.error, *at.info]) >= 1

    def test_core_says_the_same(self, ask, opened):
        added = ask("ada", "Pears")
        ben = person_named(opened, "ben")
        with opened.database.read() as db, pytest.raises(NotFoundError):
            get_session(ben, db, added.session_id)
