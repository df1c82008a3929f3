"""Attaching files in the chat: sent with the words, shown below the question, and not lost for one that is bad."""

import io

import pytest
from PIL import Image
from sqlmodel import select
from streamlit.testing.v1 import AppTest

from core.history.conversations import list_conversations
from core.history.files import MOST_FILES
from core.history.messages import NewMessage
from core.history.turns import list_turns
from core.skein import Skein
from core.tables import Artifact, Session
from tests.conftest import make_settings
from tests.pages.conftest import button_named, has_button, listed, person_named, said, say, texts, written_in

CSV = b"item,price\ntea,3\n"


def picture() -> bytes:
    into = io.BytesIO()
    Image.new("RGB", (40, 30), "teal").save(into, "PNG")
    return into.getvalue()


def send(at: AppTest, text: str, **files: bytes) -> AppTest:
    """Type and attach; a file's name has two underscores for the dot."""
    typed = at.chat_input(key="chat.input")
    for name, data in files.items():
        typed.upload(name.replace("__", "."), data)
    return typed.set_value(text).run()


def chips(at: AppTest) -> list[str]:
    return [one.label for one in at.get("download_button") if one.key.startswith("chat.file.")]


class TestSending:
    def test_files_go_with_the_words_and_stand_below_them(self, tab):
        at = send(tab("ada"), "Look", prices__csv=CSV, shot__png=picture())
        assert at.exception.values == []
        assert said(at)[0] == ("user", "Look")
        assert "You attached “prices.csv” (text/csv), “shot.png” (image/png)" in said(at)[1][1]
        assert [label.split(" · ")[0] for label in chips(at)] == ["prices.csv", "shot.png"]
        assert len(at.get("image")) == 1

    def test_files_without_words_are_asked_about_by_their_names(self, tab):
        at = send(tab("ada"), "", a__txt=b"one", b__txt=b"two")
        assert said(at)[0] == ("user", "a.txt, b.txt")
        assert listed(at) == ["a.txt, b.txt"]

    def test_they_stay_with_the_question_for_whoever_opens_it(self, tab):
        at = send(tab("ada"), "Look", prices__csv=CSV)
        again = tab("ada", conversation=at.query_params["conversation"])
        analyst = tab("ann", role="analyst", conversation=at.query_params["conversation"])
        assert chips(again) == chips(analyst) == chips(at)

    def test_what_is_said_next_brings_none(self, tab):
        at = say(send(tab("ada"), "Look", prices__csv=CSV), "And now?")
        assert len(chips(at)) == 1
        assert "You attached" not in said(at)[3][1]

    def test_a_long_name_is_shown_short(self, tab):
        at = tab("ada")
        at.chat_input(key="chat.input").upload("*x*" * 40 + ".txt", b"words").set_value("Look").run()
        [label] = chips(at)
        assert label.startswith(r"\*x\*")
        assert "….txt · " in label
        assert len(label.replace("\\", "")) < 50


class TestBadFiles:
    def test_one_is_said_and_the_words_and_the_others_are_kept(self, tab):
        at = send(tab("ada"), "Look", prices__csv=CSV, evil__svg=b"<svg/>")
        assert said(at) == []
        assert "“evil.svg” is a web page or a drawing in SVG" in texts(at)
        assert "Not sent yet:" in texts(at)
        assert written_in(at) == ["Look"]
        assert ":material/attach_file: prices.csv" in texts(at)
        button_named(at, "Send it").click().run()
        assert said(at)[0] == ("user", "Look")
        assert [label.split(" · ")[0] for label in chips(at)] == ["prices.csv"]
        assert "evil" not in texts(at)

    def test_a_better_one_joins_what_is_kept(self, tab):
        at = send(tab("ada"), "Look", prices__csv=CSV, broken__png=b"\x89PNG\r\n\x1a\nno")
        at = send(at, "", shot__png=picture())
        assert said(at) == []
        assert "broken" not in texts(at)
        button_named(at, "Send it").click().run()
        assert said(at)[0] == ("user", "Look")
        assert [label.split(" · ")[0] for label in chips(at)] == ["prices.csv", "shot.png"]

    def test_discarding_forgets_the_files_too(self, tab):
        at = send(tab("ada"), "Look", prices__csv=CSV, evil__svg=b"<svg/>")
        button_named(at, "Discard").click().run()
        assert "prices.csv" not in texts(at)
        assert chips(say(at, "Hello")) == []

    def test_a_bad_one_alone_is_only_said(self, tab):
        at = send(tab("ada"), "", evil__zip=b"PK\x03\x04")
        assert "“evil.zip” is not of a type that can be attached" in texts(at)
        assert not has_button(at, "Send it")
        assert "evil" not in texts(say(at, "Hello"))

    def test_too_many_are_said(self, tab):
        at = send(tab("ada"), "Look", **{f"f{number}__txt": b"words" for number in range(MOST_FILES + 2)})
        assert "At most 5 files go with a message; left out" in texts(at)
        button_named(at, "Send it").click().run()
        assert len(chips(at)) == MOST_FILES

    def test_nothing_is_kept_before_it_is_sent(self, tab, opened: Skein):
        send(tab("ada"), "Look", prices__csv=CSV, evil__svg=b"<svg/>")
        with opened.database.read() as db:
            assert (db.exec(select(Artifact)).all(), db.exec(select(Session)).all()) == ([], [])


class TestWhileAnAnswerIsWritten:
    @pytest.fixture
    def settings(self, tmp_path):
        return make_settings(tmp_path, demo_tokens_per_second=40)

    def test_files_are_held_back_with_the_words_and_sent_with_them(self, tab, opened: Skein):
        at = say(tab("ada"), "Write 1 token")
        ada = person_named(opened, "ada")
        with opened.database.read() as db:
            [row] = list_conversations(ada, db)
            [first] = list_turns(ada, db, row.conversation_id)
        place = {"conversation_id": row.conversation_id, "parent_message_id": first.message_id}
        opened.engine.start(ada, NewMessage("Write 60 tokens", **place))
        at = send(at, "Look", prices__csv=CSV)
        assert [words for who, words in said(at) if who == "user"] == ["Write 1 token", "Write 60 tokens"]
        assert ":material/attach_file: prices.csv" in texts(at)
        button_named(at, "Send it").click().run()
        assert [words for who, words in said(at) if who == "user"][2:] == ["Look"]
        assert len(chips(at)) == 1
