"""The page of other programs' databases: who may open it, and what it shows of a file."""

import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from core.checkpoints.foreign.threads import ThreadLine, ThreadPage
from core.records.others import SETTING
from core.settings import Settings
from pages.parts.databases.foreign_threads import describe, to_row
from tests.conftest import copy_sqlite, make_settings
from tests.pages.conftest import OpenTab

PROGRAM = Path(__file__).resolve().parents[1] / "core" / "foreign_program.py"
EARLY = PROGRAM.with_name("early")
PAGE = Path(__file__).resolve().parents[2] / "pages" / "databases.py"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("foreign") / "agent.sqlite"
    subprocess.run([sys.executable, str(PROGRAM), str(path)], check=True, capture_output=True)
    return path


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path, written: Path) -> Settings:
    copy_sqlite(request, tmp_path / "data")
    return make_settings(tmp_path, open=getattr(request, "param", written))


@pytest.fixture
def visit(tab: OpenTab) -> Any:
    """Opens the page as somebody, at an address."""

    def visit(name: str, role: str, **query: str) -> Any:
        at = tab(name, role=role)
        for key, value in query.items():
            at.query_params[key] = value
        at.switch_page(str(PAGE)).run()
        assert not at.exception
        return at

    return visit


def said(at: Any) -> str:
    return " ".join(str(one.value) for one in [*at.markdown, *at.caption, *at.warning, *at.title])


class TestWhoMayOpen:
    def test_an_admin_chooses_a_file(self, visit: Any):
        at = visit("ann", "admin")
        assert "Other databases" in said(at)
        assert at.button(key="databases.set").label == "Open"

    def test_an_analyst_sees_what_the_settings_name(self, visit: Any):
        at = visit("ana", "analyst")
        assert "agent.sqlite" in said(at)
        assert list(at.dataframe[0].value["Thread"]) == ["pickled", "delta/日志", "chat-1"]

    def test_an_analyst_cannot_open_another_file(self, visit: Any, written: Path):
        at = visit("ana", "analyst", file=str(written))
        assert "Only an admin can open" in said(at)
        assert len(at.dataframe) == 0

    def test_a_member_is_not_offered_the_page(self, visit: Any):
        with pytest.raises(ValueError, match="Could not find a navigation page"):
            visit("mel", "member", file=SETTING)

    @pytest.mark.parametrize("settings", [None], indirect=True)
    def test_without_a_set_file_the_page_is_for_admins(self, visit: Any):
        with pytest.raises(ValueError, match="Could not find a navigation page"):
            visit("ana", "analyst")
        assert "From your computer" in said(visit("ann", "admin"))


class TestAFile:
    def test_a_thread_shows_its_branches_checkpoints_and_state(self, visit: Any):
        at = visit("ann", "admin", file=SETTING, thread="chat-1")
        labels = [button.label for button in at.button]
        assert [label for label in labels if "alt_route" in label]
        assert any("asks a person" in str(one.value) for one in at.markdown)
        assert "__main__.Order" in " ".join(str(one.value) for one in at.json)

    def test_messages_are_shown_as_text(self, visit: Any):
        at = visit("ann", "admin", file=SETTING, thread="chat-1", view="messages")
        assert [one.value for one in at.code][:2] == ["你好", "You said: 你好"]

    def test_every_view_of_every_thread_can_be_drawn(self, visit: Any):
        for thread in ("chat-1", "delta/日志", "pickled"):
            for view in ("state", "messages", "changes", "writes", "json"):
                visit("ann", "admin", file=SETTING, thread=thread, view=view)

    def test_what_is_not_there_is_one_sentence_and_a_way_back(self, visit: Any):
        for query, sentence in (
            ({"file": "nowhere.db"}, "There is no file"),
            ({"file": SETTING, "thread": "nobody"}, "There is no thread"),
            ({"file": SETTING, "thread": "chat-1", "checkpoint": "x"}, "There is no checkpoint"),
            ({"file": "upload:0123456789abcdef"}, "no longer here"),
            ({"file": "upload:../../x"}, "no longer here"),
        ):
            at = visit("ann", "admin", **query)
            assert sentence in said(at)
            assert at.button(key="databases.other" if "thread" in query else "databases.choose")

    def test_search_narrows_the_list_and_stands_in_the_address(self, visit: Any):
        at = visit("ann", "admin", file=SETTING)
        at.text_input(key="databases.widget.q").set_value("CHAT").run()
        assert list(at.dataframe[0].value["Thread"]) == ["chat-1"]
        assert at.query_params["q"] == "CHAT"


class TestAFileOfAnEarlyVersion:
    def test_says_who_ran_and_what_it_does_not_know(self, visit: Any, tmp_path: Path):
        path = tmp_path / "early.sqlite"
        with zipfile.ZipFile(EARLY / "0.2.0.zip") as archive, closing(sqlite3.connect(path)) as file:
            file.executescript(archive.read("file.sql").decode())
        at = visit("ann", "admin", file=str(path), thread="stopped")
        assert "the end, or a node that this early version did not store" in said(at)
        assert any(button.label.startswith("after say ·") for button in at.button)
        assert "**say**" not in said(at)  # the edge from it is no value of the state
        assert "nothing was written from here" not in " ".join(str(button.help) for button in at.button)


class TestWords:
    def test_unknown_numbers_are_no_zero(self):
        line = ThreadLine("t", 2000, 0, 1, None, None, 5, None, "", is_partial=True)
        row = to_row(line)
        assert (row["Messages"], row["Checkpoints"], row["Size"]) == ("–", "2,000+", "5 B+")

    def test_the_list_says_how_it_is_ordered(self):
        line = ThreadLine("t", 1, 0, 1, None, None, 5, 0, "")
        assert describe(ThreadPage([line], None, "newest", 1), "") == "1 thread, newest first"
        assert describe(ThreadPage([line], "t", "id", None), "") == "Very many threads, in the order of their ids"
        assert describe(ThreadPage([], None, "newest", 0), "x") == "No thread has “x” in its id."
