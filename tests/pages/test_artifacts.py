"""The panel beside the chat: what a branch has, one of them with its versions, and changing it by hand."""

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image
from sqlalchemy import update
from streamlit.proto.WidgetStates_pb2 import WidgetStates
from streamlit.testing.v1 import AppTest

from core.access.viewer import Viewer
from core.database import table_of
from core.history.artifacts import Ref, VersionRow, get_version, list_versions, write_version
from core.history.branches import create_branch
from core.history.conversations import get_conversation
from core.history.messages import NewMessage
from core.history.task_plan import Step, TaskPlan, write_plan
from core.history.turns import Turn
from core.settings import Settings
from core.skein import Skein
from core.tables import ArtifactVersion
from pages.parts.artifacts.artifact_url import file_name
from pages.parts.artifacts.artifact_view import is_table, plan_lines, read_table, records_table, to_text
from tests.conftest import make_settings
from tests.core.support import answered, ask
from tests.pages.conftest import OpenTab, has_button, person_named, said, texts

GRAPH = Path(__file__).resolve().parents[1] / "graphs" / "naming.py"
PLAN = TaskPlan(title="Move house", steps=[Step(text="Pack", status="done"), Step(text="Drive")])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "langgraph.json"
    path.write_text(json.dumps({"graphs": {"naming": {"path": f"{GRAPH}:graph"}}}))
    return make_settings(tmp_path, langgraph_json=path)


class Desk:
    """Ada's session, in which runs make and name artifacts."""

    def __init__(self, skein: Skein) -> None:
        self.skein, self.viewer = skein, person_named(skein, "ada")
        self.turn = self.say("hello")
        with skein.database.read() as db:
            self.session_id = get_conversation(self.viewer, db, self.turn.conversation_id).session_id

    def say(self, text: str, under: Turn | None = None) -> Turn:
        begun = ask(self.skein, self.viewer, text, under=under, agent="naming")
        return answered(self.skein, self.viewer, begun.thread_id)

    def say_apart(self, text: str) -> Turn:
        new = NewMessage(text, session_id=self.session_id, agent_id="naming")
        return answered(self.skein, self.viewer, self.skein.engine.start(self.viewer, new).thread_id)

    def write(self, text: str | bytes = "text", **given: Any) -> Ref:
        chosen: dict[str, Any] = {
            "session_id": self.session_id,
            "kind": "result",
            "name": "report",
            "content": text.encode() if isinstance(text, str) else text,
            "media_type": "text/markdown",
            **given,
        }
        return self.skein.database.write(lambda db: write_version(self.viewer, db, **chosen))

    def name(self, *words: Any) -> Turn:
        """Go on with a turn whose state names these, as a run does that has written them."""
        self.turn = self.say(" ".join(map(str, words)), under=self.turn)
        return self.turn

    def made(self, text: str | bytes = "text", **given: Any) -> Ref:
        """A version that the conversation's next run wrote, and its state names."""
        ref = self.write(text, thread_id=self.turn.thread_id, **given)
        turn = self.name(f"{'plan=' if given.get('kind') == 'task_plan' else ''}{ref}")
        table = table_of(ArtifactVersion)
        is_it = (table.c.artifact_id == ref.artifact_id, table.c.version == ref.version)
        moved = update(table).where(*is_it).values(thread_id=turn.thread_id, status="kept")
        self.skein.database.write(lambda db: db.connection().execute(moved))
        return ref

    def versions(self, ref: Ref) -> list[VersionRow]:
        with self.skein.database.read() as db:
            return list_versions(self.viewer, db, ref.artifact_id)


@pytest.fixture
def desk(opened: Skein) -> Desk:
    return Desk(opened)


def open_panel(tab: OpenTab, desk: Desk, artifact: Any = "all", *, name: str = "ada", **more: str) -> AppTest:
    at = tab(name, message=desk.turn.message_id, artifact=str(artifact), **more)
    assert at.exception.values == []
    return at


def listed(at: AppTest) -> list[str]:
    return [button.label for button in at.button if (button.key or "").startswith("chat.artifact.open.")]


def save(at: AppTest) -> AppTest:
    key = next(button.key for button in at.button if (button.key or "").startswith("chat.artifact.save."))
    return at.button(key=key).click().run()


class TestTheList:
    def test_is_not_offered_where_there_is_nothing(self, tab: OpenTab, desk: Desk) -> None:
        at = tab("ada", message=desk.turn.message_id)
        assert [button.key for button in at.button if button.key == "chat.artifacts"] == []

    def test_opens_and_closes(self, tab: OpenTab, desk: Desk) -> None:
        desk.made(name="*first* report")
        at = tab("ada", message=desk.turn.message_id)
        assert at.button(key="chat.artifacts").label == "Artifacts (1)"
        at.button(key="chat.artifacts").click().run()
        assert (listed(at), at.query_params["artifact"]) == (["\\*first\\* report"], "all")
        at.button(key="chat.artifact.close").click().run()
        assert (listed(at), "artifact" in at.query_params) == ([], False)

    def test_has_what_the_branch_names_and_what_the_session_shares(self, tab: OpenTab, desk: Desk) -> None:
        desk.made(name="mine")
        desk.write("text", kind="file", name="attached", media_type="text/plain")
        desk.write("text", name="named by nobody", thread_id=desk.turn.thread_id)
        assert listed(open_panel(tab, desk)) == ["mine", "attached"]

    def test_of_another_conversation_of_the_session_has_what_this_one_kept(self, tab: OpenTab, desk: Desk) -> None:
        desk.made(name="mine")
        other = desk.say_apart("hello")
        at = tab("ada", message=other.message_id, artifact="all")
        assert listed(at) == ["mine"]
        assert "Shared by the session" in texts(at)

    def test_of_another_branch_does_not_have_what_was_made_later(self, tab: OpenTab, desk: Desk) -> None:
        ref = desk.made("one", name="shared past")
        fork = desk.turn
        desk.made("two", artifact_id=ref.artifact_id, base_version=1)
        desk.made("text", name="only there")
        desk.turn = fork
        desk.name("another way")
        at = open_panel(tab, desk)
        assert listed(at) == ["shared past"]
        assert "Version 1 ·" in texts(at)
        at = open_panel(tab, desk, ref.artifact_id)
        assert at.selectbox(key="chat.artifact_widget.version").value == 1
        assert len(at.selectbox(key="chat.artifact_widget.version").options) == 1


class TestOne:
    def test_is_opened_from_the_list_and_named_by_the_address(self, tab: OpenTab, desk: Desk) -> None:
        ref = desk.made("# A heading\n\n<script>alert(1)</script>")
        at = open_panel(tab, desk)
        at.button(key=f"chat.artifact.open.{ref.artifact_id}").click().run()
        assert at.query_params["artifact"] == ref.artifact_id
        shown = next(element for element in at.markdown if element.value.startswith("# A heading"))
        assert (shown.value, shown.allow_html) == ("# A heading\n\n\\<script>alert(1)\\</script>", False)

    def test_shows_an_older_version_and_what_changed_since(self, tab: OpenTab, desk: Desk) -> None:
        ref = desk.made("the old words")
        desk.made("the new words", artifact_id=ref.artifact_id, base_version=1)
        at = open_panel(tab, desk, ref.artifact_id)
        assert "the new words" in texts(at)
        at.selectbox(key="chat.artifact_widget.version").set_value(1).run()
        assert ("the old words" in texts(at), at.query_params["version"]) == (True, "1")
        at = open_panel(tab, desk, ref.artifact_id, version="2")
        drawn = [html.proto.body for html in at.get("html")]
        assert any("<del>old</del><ins>new</ins>" in html for html in drawn)

    def test_leads_to_the_message_that_made_it(self, tab: OpenTab, desk: Desk) -> None:
        ref = desk.made()
        made_in = desk.turn
        other = desk.say_apart("hello")
        at = tab("ada", message=other.message_id, artifact=ref.artifact_id)
        at.button(key="chat.artifact.where").click().run()
        assert at.query_params["conversation"] == made_in.conversation_id
        assert ("user", "hello") in said(at)

    def test_opens_by_its_own_link_alone(self, tab: OpenTab, desk: Desk) -> None:
        ref = desk.made("some words")
        at = tab("ada", artifact=ref.artifact_id)
        assert at.query_params["conversation"] == desk.turn.conversation_id
        assert "some words" in texts(at)

    @pytest.mark.parametrize(
        "wanted", ["nonsense", "art_1795214478774_4CW9G9F475EY", "msg_1795214478774_4CW9G9F475EY"]
    )
    def test_that_is_not_there_is_said_beside_the_list(self, tab: OpenTab, desk: Desk, wanted: str) -> None:
        desk.made(name="mine")
        at = open_panel(tab, desk, wanted)
        assert (len(at.warning), listed(at)) == (1, ["mine"])
        assert tab("ada", artifact=wanted).exception.values == []

    @pytest.mark.parametrize("version", ["99", "0", "x", "-1", "９"])
    def test_in_a_version_that_is_not_there_opens_as_the_branch_has_it(
        self, tab: OpenTab, desk: Desk, version: str
    ) -> None:
        ref = desk.made("some words")
        assert "some words" in texts(open_panel(tab, desk, ref.artifact_id, version=version))

    def test_is_not_there_for_another_member(self, tab: OpenTab, desk: Desk) -> None:
        ref = desk.made("secret words")
        mine = Desk.__new__(Desk)
        mine.skein, mine.viewer = desk.skein, Viewer(person_named(desk.skein, "ben").user_id, "ben")
        mine.turn = mine.say("hello")
        at = open_panel(tab, mine, ref.artifact_id, name="ben")
        assert "secret words" not in texts(at)
        assert "There is no such artifact here" in texts(at)

    def test_can_be_read_but_not_changed_by_an_analyst(self, tab: OpenTab, desk: Desk) -> None:
        ref = desk.made("some words")
        at = open_panel(tab, desk, ref.artifact_id, name="ann", role="analyst")
        assert ("some words" in texts(at), has_button(at, "Edit")) == (True, False)


class TestWhatItHolds:
    @pytest.mark.parametrize(
        ("content", "media_type", "name"),
        [
            (b"a,b\n1,2\n", "text/csv", "t.csv"),
            (b'[{"a": 1, "b": [2]}, {"a": 2}]', "application/json", "t.json"),
        ],
    )
    def test_is_a_table(self, tab: OpenTab, desk: Desk, content: bytes, media_type: str, name: str) -> None:
        ref = desk.made(content, media_type=media_type, name=name)
        at = open_panel(tab, desk, ref.artifact_id)
        assert list(at.dataframe[0].value.columns) == ["a", "b"]

    def test_is_code(self, tab: OpenTab, desk: Desk) -> None:
        ref = desk.made("print('<b>')", media_type="text/plain", name="run.py")
        at = open_panel(tab, desk, ref.artifact_id)
        assert [(code.value, code.language) for code in at.code] == [("print('<b>')", "python")]

    def test_is_json(self, tab: OpenTab, desk: Desk) -> None:
        ref = desk.made('{"a": {"b": 1}}', media_type="application/json")
        assert json.loads(open_panel(tab, desk, ref.artifact_id).json[0].value) == {"a": {"b": 1}}

    def test_is_a_plan_with_its_steps(self, tab: OpenTab, desk: Desk) -> None:
        ref = desk.made(write_plan(PLAN), kind="task_plan", name="plan", media_type="application/json")
        shown = texts(open_panel(tab, desk, ref.artifact_id))
        assert "**Move house**  \n1 of 2 done" in shown
        assert all(line in shown for line in plan_lines(PLAN))

    def test_is_a_picture_or_said_to_be_a_broken_one(self, tab: OpenTab, desk: Desk) -> None:
        data = io.BytesIO()
        Image.new("RGB", (8, 8), "red").save(data, "PNG")
        whole = desk.made(data.getvalue(), media_type="image/png", name="chart")
        at = open_panel(tab, desk, whole.artifact_id)
        assert (len(at.get("image")), len(at.warning)) == (1, 0)
        broken = desk.made(b"\x89PNG\r\n\x1a\n<script>", media_type="image/png", name="broken")
        at = open_panel(tab, desk, broken.artifact_id)
        assert (len(at.get("image")), "broken" in at.warning[0].value) == (0, True)

    @pytest.mark.parametrize(
        ("content", "media_type"),
        [
            (b"", "text/markdown"),
            (b"", "text/csv"),
            (b"{", "application/json"),
            (b"[" * 100_000, "application/json"),
            (b"[[1], {}, null]", "application/json"),
            (b"a\x1b[31m\x00b \xe2\x80\xae", "text/plain"),
            (b"# x\n" * 2_000_000, "text/markdown"),
            (b'"' * 300_000, "text/csv"),
            (b"a,a,,\n1\n1,2,3,4,5,6\n", "text/csv"),
            (b"," * 3_000_000, "text/csv"),
            (b"[" + b'{"a": 123456789012345678901234567890, "b": NaN},' * 3 + b'{"c": "x"}]', "application/json"),
            (bytes(range(256)), "application/octet-stream"),
        ],
    )
    def test_is_shown_as_far_as_it_can_be(self, tab: OpenTab, desk: Desk, content: bytes, media_type: str) -> None:
        ref = desk.made(content, media_type=media_type)
        at = open_panel(tab, desk, ref.artifact_id)
        assert len(at.get("download_button")) == 1


class TestChangingByHand:
    def edit(self, tab: OpenTab, desk: Desk, ref: Ref) -> AppTest:
        at = open_panel(tab, desk, ref.artifact_id)
        return at.button(key="chat.artifact.edit").click().run()

    def test_makes_the_next_version_with_its_author(self, tab: OpenTab, desk: Desk) -> None:
        ref = desk.made("old words")
        at = self.edit(tab, desk, ref)
        assert at.text_area[0].value == "old words"
        at.text_area[0].set_value("new words")
        at = save(at)
        assert ("new words" in texts(at), len(at.text_area), at.query_params["version"]) == (True, 0, "2")
        made = desk.versions(ref)[-1]
        assert (made.version, made.base_version, made.user_name, made.by_hand) == (2, 1, "ada", True)
        assert made.thread_id == desk.turn.thread_id
        assert "new words" in texts(open_panel(tab, desk, ref.artifact_id))

    def test_is_saved_also_when_a_click_that_leaves_it_comes_with_the_one_on_save(
        self, tab: OpenTab, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ref = desk.made("old words")
        at = self.edit(tab, desk, ref)
        at.text_area[0].set_value("new words")
        at.button(key="chat.artifact.save.1").click()
        at.button(key="chat.artifact.back").click()
        newest_first = WidgetStates(widgets=reversed(at._tree.get_widget_states().widgets))
        monkeypatch.setattr(type(at._tree), "get_widget_states", lambda _tree: newest_first)
        at.run()
        assert (len(at.text_area), at.query_params["artifact"], "version" in at.query_params) == (0, "all", False)
        assert [(row.version, row.by_hand) for row in desk.versions(ref)][1:] == [(2, True)]

    def test_of_what_another_conversation_made_is_seen_on_this_branch(self, tab: OpenTab, desk: Desk) -> None:
        ref = desk.made("old words")
        here = desk.turn
        desk.turn = desk.say_apart("hello")
        at = self.edit(tab, desk, ref)
        at.text_area[0].set_value("new words")
        save(at)
        assert "new words" in texts(open_panel(tab, desk, ref.artifact_id))
        desk.turn = here
        assert "old words" in texts(open_panel(tab, desk, ref.artifact_id))

    def test_is_told_when_somebody_was_first_and_loses_nothing(self, tab: OpenTab, desk: Desk) -> None:
        ref = desk.made("old words")
        here, there = self.edit(tab, desk, ref), self.edit(tab, desk, ref)
        there.text_area[0].set_value("theirs")
        save(there)
        here.text_area[0].set_value("mine")
        here = save(here)
        assert "Meanwhile version 2 was made by ada" in here.warning[0].value
        assert (here.text_area[0].value, len(desk.versions(ref))) == ("mine", 2)
        here = save(here)
        assert ("mine" in texts(here), [row.base_version for row in desk.versions(ref)]) == (True, [None, 1, 2])

    def test_waits_while_an_answer_is_written(self, tab: OpenTab, desk: Desk) -> None:
        ref = desk.made("old words")
        at = self.edit(tab, desk, ref)
        at.text_area[0].set_value("mine").run()
        desk.made("from a run", artifact_id=ref.artifact_id, base_version=1)
        at.query_params.pop("branch", None)
        at.query_params["message"] = desk.turn.message_id
        at = save(at)
        assert "Meanwhile version 2 was made by ada" in at.warning[0].value
        assert at.text_area[0].value == "mine"

    def test_can_be_given_up(self, tab: OpenTab, desk: Desk) -> None:
        ref = desk.made("old words")
        at = self.edit(tab, desk, ref)
        at.text_area[0].set_value("mine")
        at.button(key="chat.artifact.cancel").click().run()
        assert (len(at.text_area), len(desk.versions(ref))) == (0, 1)
        at.button(key="chat.artifact.edit").click().run()
        assert at.text_area[0].value == "old words"

    def test_keeps_what_was_typed_while_one_looks_elsewhere(self, tab: OpenTab, desk: Desk) -> None:
        ref = desk.made("old words")
        at = self.edit(tab, desk, ref)
        at.text_area[0].set_value("mine").run()
        at.button(key="chat.artifact.back").click().run()
        assert len(at.text_area) == 0
        at.button(key=f"chat.artifact.open.{ref.artifact_id}").click().run()
        assert at.text_area[0].value == "mine"

    def test_of_a_plan_is_written_in_lines_and_checked(self, tab: OpenTab, desk: Desk) -> None:
        ref = desk.made(write_plan(PLAN), kind="task_plan", name="plan", media_type="application/json")
        at = self.edit(tab, desk, ref)
        assert at.text_area[0].value == "Move house\n[x] Pack\n[ ] Drive"
        at.text_area[0].set_value("Move house\nPack")
        at = save(at)
        assert ("is no step" in at.warning[0].value, at.text_area[0].value) == (True, "Move house\nPack")
        at.text_area[0].set_value("Move house\n[x] Pack\n[~] Drive")
        at = save(at)
        assert "in progress" in texts(at)

    def test_is_not_offered_for_what_this_branch_does_not_have(self, tab: OpenTab, desk: Desk) -> None:
        fork = desk.turn
        ref = desk.made("old words")
        desk.turn = fork
        desk.name("another way")
        at = open_panel(tab, desk, ref.artifact_id)
        assert ("old words" in texts(at), has_button(at, "Edit")) == (True, False)
        assert "This branch does not have this version" in texts(at)

    def test_on_a_branch_that_ends_earlier_is_not_seen_on_the_longer_one(self, tab: OpenTab, desk: Desk) -> None:
        ref = desk.made("old words")
        early = desk.turn
        desk.name("and on")
        branch = desk.skein.database.write(lambda db: create_branch(desk.viewer, db, early.message_id))
        at = tab("ada", branch=branch.branch_id, artifact=ref.artifact_id)
        at.button(key="chat.artifact.edit").click().run()
        at.text_area[0].set_value("new words")
        assert "new words" in texts(save(at))
        assert "old words" in texts(open_panel(tab, desk, ref.artifact_id))


class TestTables:
    def test_keep_numbers_as_numbers_and_names_as_names(self) -> None:
        table, is_whole = read_table("name;n;code\nb;10;007\na;9;012\n;;\n")
        assert (list(table.columns), is_whole) == (["name", "n", "code"], True)
        assert (table["n"].tolist()[:2], table["code"].tolist()) == ([10.0, 9.0], ["007", "012", ""])

    def test_give_each_column_a_name_of_its_own(self) -> None:
        table, _ = read_table("a,a,,a\n1,2,3,4,5\n")
        assert list(table.columns) == ["a", "a 2", "column 3", "a 3", "column 5"]

    def test_are_cut_where_they_are_too_large(self) -> None:
        table, is_whole = read_table("a\n" * 6_000)
        assert (len(table), is_whole) == (5_000, False)
        table, is_whole = read_table(",".join("a" * 101) + "\n1\n")
        assert (len(table.columns), is_whole) == (100, False)

    def test_of_records_show_what_is_within_as_json(self) -> None:
        table = records_table([{"n": 1, "list": [1, "é"], "text": "x"}, {"n": 2.5, "text": None}])
        expected = pd.DataFrame({"n": [1.0, 2.5], "list": ['[1, "é"]', ""], "text": ["x", ""]})
        pd.testing.assert_frame_equal(table, expected)

    @pytest.mark.parametrize("value", [[], {}, [1], [{}], [{"a": 1}, 2], [{str(n): 1 for n in range(101)}]])
    def test_are_not_made_of_anything_else(self, value: Any) -> None:
        assert not is_table(value)


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "media_type", "expected"),
        [
            ("report", "text/markdown", "report.md"),
            ("data.csv", "text/csv", "data.csv"),
            ("../../etc/passwd", "text/plain", "_.._etc_passwd"),
            ("...", "application/pdf", "artifact.pdf"),
            ("计划", "application/json", "计划.json"),
            ("blob", "application/octet-stream", "blob"),
        ],
    )
    def test_are_called_so_that_every_system_takes_them(
        self, desk: Desk, name: str, media_type: str, expected: str
    ) -> None:
        content = "%PDF-" if media_type == "application/pdf" else "{}"
        ref = desk.write(content, name=name, media_type=media_type)
        with desk.skein.database.read() as db:
            assert file_name(get_version(desk.viewer, db, ref)) == expected

    def test_are_read_as_text_without_control_characters(self) -> None:
        assert to_text(b"\xef\xbb\xbfa\x1b[1m\r\nb\rc\x00\td\x7f") == "a[1m\nb\nc\td"
