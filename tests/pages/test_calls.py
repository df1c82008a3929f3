"""The Calls page: what each person sees of the log, what its address means, and one call opened."""

import pytest

from core.calls.filters import CallFilter
from core.calls.listing.queries import list_calls
from core.calls.text.search import pending
from core.history.messages import NewMessage
from tests.core.support import wait_until
from tests.pages.conftest import button_named, has_button, opened_popover, person_named, texts


@pytest.fixture
def ask(opened):
    """Lets a person ask something, and waits until its calls are on record."""

    def ask(name: str, text: str):
        viewer = person_named(opened, name)
        added = opened.engine.start(viewer, NewMessage(text))
        wait_until(lambda: opened.engine.active(viewer) == [])
        assert opened.call_log.flush()
        return added

    return ask


@pytest.fixture
def calls(tab):
    """Opens the Calls page: ``calls("ada", role="analyst", window="30d")``."""

    def open_calls(name: str, *, role: str = "member", **query):
        at = tab(name, role=role)
        at.switch_page("calls.py")
        for key, value in query.items():
            at.query_params[key] = value
        at.run()
        assert at.exception.values == []
        return at

    return open_calls


def metrics(at) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def address(at) -> dict[str, list[str]]:
    return {name: [value] if isinstance(value, str) else list(value) for name, value in at.query_params.items()}


def rows(at):
    """The table of calls as it is shown."""
    return next(frame.value for frame in at.dataframe if "Began" in frame.value.columns)


def only_call(skein, name: str) -> str:
    viewer = person_named(skein, name)
    with skein.database.read() as db:
        return list_calls(viewer, db, CallFilter(), None).rows[0].call_id


def _waiting(skein) -> int:
    with skein.database.read() as db:
        return pending(person_named(skein, "auditor", "analyst"), db)


class TestAnEmptyLog:
    @pytest.mark.parametrize("role", ["member", "analyst", "admin"])
    def test_it_says_how_to_begin(self, calls, role):
        at = calls("ada", role=role)
        assert [info.value for info in at.info] == [
            "No calls yet. Ask something in a chat, and each call to a model will be counted here."
        ]
        assert (len(at.metric), len(at.dataframe)) == (0, 0)


class TestWhoSeesWhat:
    def test_a_member_sees_only_their_own_calls(self, calls, ask):
        ask("ada", "Pears")
        ask("ben", "Plums")
        at = calls("ada")
        assert (metrics(at)["Calls"], rows(at)["Model"].size) == ("1", 1)
        assert "User" not in rows(at).columns
        assert "Your LLM calls" in texts(at)

    def test_an_analyst_sees_everybodys(self, calls, ask):
        ask("ada", "Pears")
        ask("ben", "Plums")
        at = calls("ana", role="analyst")
        assert (metrics(at)["Calls"], sorted(rows(at)["User"])) == ("2", ["ada", "ben"])

    def test_only_those_who_read_all_can_verify_the_log(self, calls, ask):
        ask("ada", "Pears")
        assert not has_button(opened_popover(calls("ada"), "calls.verifying"), "Verify the log")
        at = opened_popover(calls("ana", role="analyst"), "calls.verifying")
        at = button_named(at, "Verify the log").click().run()
        assert [note.value.startswith("The log holds: 1 call, ") for note in at.success] == [True]

    def test_the_demo_model_is_free_and_not_zero(self, calls, ask):
        ask("ada", "Pears")
        at = calls("ada")
        assert (metrics(at)["Cost"], rows(at)["Cost"].tolist()) == ("free", ["free"])
        assert metrics(at)["Coverage"] == "100%"


class TestTheAddress:
    def test_it_narrows_the_page_and_shows_a_chip_for_each_reason(self, calls, ask):
        ask("ada", "Pears")
        at = calls("ada", models=["skein-nothing"], hour="3")
        assert [button.label for button in at.button if button.key.startswith("calls.chip.")] == [
            "Model: skein-nothing",
            "Hour\\: 03\\:00 to 03\\:59",
        ]
        assert [info.value[:31] for info in at.info] == ["No call is like that in this wi"]

    def test_a_chip_takes_its_reason_away(self, calls, ask):
        ask("ada", "Pears")
        at = calls("ada", models=["skein-nothing"], statuses=["ok"])
        at.button(key="calls.chip.0").click().run()
        assert metrics(at)["Calls"] == "1"
        assert address(at) == {"statuses": ["ok"]}

    def test_all_are_cleared_at_once_and_the_window_stays(self, calls, ask):
        ask("ada", "Pears")
        at = calls("ada", models=["skein-nothing"], statuses=["error"], window="30d")
        at.button(key="calls.clear").click().run()
        assert address(at) == {"window": ["30d"]}

    def test_a_bad_parameter_is_one_sentence_and_the_rest_works(self, calls, ask):
        ask("ada", "Pears")
        at = calls("ada", hour="25", statuses=["ok"])
        assert [warning.value for warning in at.warning] == [
            "The address has hour='25', which cannot be understood; write a number from 0 to 23."
        ]
        assert metrics(at)["Calls"] == "1"

    @pytest.mark.parametrize("after", ["nonsense", "e30"])
    def test_a_bad_place_in_the_table_is_one_sentence(self, calls, ask, after):
        ask("ada", "Pears")
        assert len(calls("ada", after=after).warning) == 1

    def test_another_window_is_put_into_the_address(self, calls, ask):
        ask("ada", "Pears")
        at = calls("ada")
        at.button_group(key="calls.widget.window").set_value("24h").run()
        assert address(at) == {"window": ["24h"]}

    def test_text_is_searched_for(self, calls, ask, opened):
        ask("ada", "Pears and 二季度的成本")
        ask("ada", "Plums")
        wait_until(lambda: not _waiting(opened))
        at = calls("ada")
        at.text_input(key="calls.widget.text").set_value("成本").run()
        assert (address(at), metrics(at)["Calls"]) == ({"text": ["成本"]}, "1")

    def test_the_zone_of_the_address_is_the_pages(self, calls):
        assert "times in Asia/Tokyo" in texts(calls("ada", tz="Asia/Tokyo"))


class TestOneCall:
    def test_it_opens_with_what_the_model_saw_beside_what_people_saw(self, calls, ask, opened):
        ask("ada", "Pears")
        at = calls("ada", call=only_call(opened, "ada"))
        assert [code.value for code in at.code if code.value == "Pears"] == ["Pears", "Pears"]
        assert "What the model saw and said" in texts(at)
        assert "**free**" in texts(at)

    def test_an_analyst_reading_anothers_call_is_on_record_once(self, calls, ask, opened):
        from sqlmodel import select

        from core.tables import Activity

        ask("ada", "Pears")
        call_id = only_call(opened, "ada")
        calls("ana", role="analyst", call=call_id).run()
        with opened.database.read() as db:
            seen = [row.target_id for row in db.exec(select(Activity)) if row.target_id == call_id]
        assert seen == [call_id]

    @pytest.mark.parametrize("call_id", ["call_1795214478774_4CW9G9F475EY", "nonsense", "' or 1=1 --"])
    def test_one_that_is_not_there_is_one_sentence(self, calls, call_id):
        at = calls("ada", call=call_id)
        assert [warning.value for warning in at.warning] == [
            "There is no such call here; it may have been deleted, or the link is wrong."
        ]

    def test_another_persons_is_not_there_either(self, calls, ask, opened):
        ask("ben", "Plums")
        at = calls("ada", call=only_call(opened, "ben"))
        assert [warning.value[:21] for warning in at.warning] == ["There is no such call"]
        assert "Plums" not in texts(at) + " ".join(code.value for code in at.code)

    def test_its_thread_is_one_click_away(self, calls, ask, opened):
        added = ask("ada", "Pears")
        at = calls("ada", call=only_call(opened, "ada"), hour="99", models=["other"])
        at.button(key="calls.thread").click().run()
        assert address(at) == {"window": ["all"], "thread": [added.thread_id]}
        assert metrics(at)["Calls"] == "1"

    def test_the_way_back_keeps_what_was_chosen(self, calls, ask, opened):
        ask("ada", "Pears")
        at = calls("ada", call=only_call(opened, "ada"), statuses=["ok"])
        at.button(key="calls.back").click().run()
        assert (address(at), metrics(at)["Calls"]) == ({"statuses": ["ok"]}, "1")

    def test_markdown_and_html_of_a_person_stay_text(self, calls, ask, opened):
        text = "![x](http://example.invalid/x.png) <b>bold</b> :red[no]"
        ask("ada", text)
        at = calls("ada", call=only_call(opened, "ada"))
        assert [code.value for code in at.code].count(text) == 2
        assert "example.invalid" not in texts(at).replace("\\", "")


class TestSavedViews:
    def save(self, at, name: str):
        opened_popover(at, "calls.views").text_input(key="calls.name").set_value(name)
        return button_named(at, "Save this view").click().run()

    def test_a_view_is_saved_opened_and_deleted(self, calls, ask):
        ask("ada", "Pears")
        at = self.save(calls("ada", statuses=["ok"], window="30d"), "Good ones")
        at.button(key="calls.clear").click().run()
        button_named(at, "Good ones").click().run()
        assert address(at) == {"statuses": ["ok"], "window": ["30d"]}
        next(button for button in at.button if button.key.startswith("calls.view.drop.")).click().run()
        assert not has_button(at, "Good ones")

    def test_its_link_opens_it_for_another_with_their_own_rights(self, calls, ask):
        ask("ada", "Pears")
        at = self.save(calls("ada", statuses=["ok"]), "Good ones")
        link = next(code.value for code in at.code if "view=" in code.value)
        other = calls("ben", view=link.partition("view=")[2])
        assert address(other) == {"statuses": ["ok"]}
        assert len(other.metric) == 0

    def test_a_link_that_leads_nowhere_is_one_sentence(self, calls):
        at = calls("ada", view="view_1795214478774_4CW9G9F475EY")
        assert [warning.value[:28] for warning in at.warning] == ["There is no such saved view;"]

    def test_a_view_without_a_name_is_refused(self, calls):
        at = self.save(calls("ada"), "  ")
        assert [warning.value for warning in at.warning] == ["A view needs a name; please type one."]


class TestExport:
    def test_a_file_of_what_is_filtered_is_prepared_and_offered(self, calls, ask):
        ask("ada", "Pears")
        at = button_named(opened_popover(calls("ada"), "calls.export"), "Prepare the file").click().run()
        assert [button.label[:15] for button in at.download_button] == ["Download 1 call"]

    def test_a_file_of_another_filter_is_not_offered(self, calls, ask):
        ask("ada", "Pears")
        at = button_named(opened_popover(calls("ada"), "calls.export"), "Prepare the file").click().run()
        at.button_group(key="calls.widget.window").set_value("24h").run()
        assert len(at.download_button) == 0
