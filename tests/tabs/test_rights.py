"""What an open tab may do once its login has ended, or its person has another role: nothing with the old rights."""

import asyncio
from datetime import timedelta

import httpx
from sqlalchemy import update
from sqlmodel import col
from streamlit.runtime import get_instance

from core.access import accounts
from core.access.sign_in import sign_out_everywhere
from core.access.viewer import Viewer
from core.history.messages import NewMessage
from core.history.turns import Turn, get_turn
from core.ids import new_login_id
from core.skein import Skein
from core.tables import Login, utc_now
from tests.conftest import make_person
from tests.tabs.conftest import Served
from tests.tabs.test_asking import what_was_asked

LONG = 2_000
SOME = 30


def as_admin(skein: Skein) -> Viewer:
    return make_person(skein, f"admin {new_login_id()}", "admin")


def ask(skein: Skein, viewer: Viewer, text: str) -> Turn:
    added = skein.engine.start(viewer, NewMessage(text, agent_id="assistant", config={"model": "demo"}))
    with skein.database.read() as db:
        return get_turn(viewer, db, added.message_id)


class TestALoginThatEnds:
    async def test_takes_all_its_tabs_with_it_in_mid_stream(self, served: Served) -> None:
        viewer, cookie = served.make_person("signs out elsewhere")
        async with served.tabs(2, cookie) as tabs:
            for tab in tabs:
                await tab.say(f"{LONG} tokens")
                await tab.words_seen(SOME)
            await asyncio.to_thread(sign_out_everywhere, viewer, served.skein.database)
            for tab in tabs:
                assert await tab.closed() == 1008
                answer = await tab.watch_no_longer()
                assert len(answer.streamed) < LONG
            await no_page_is_drawn(served)
        assert sorted(what_was_asked(served.skein, viewer)) == [f"{LONG} tokens"] * 2, "the runs go on, for the log"
        stop_all(served.skein, viewer)

    async def test_a_disabled_account_asks_nothing_more(self, served: Served) -> None:
        viewer, cookie = served.make_person("is disabled")
        async with served.tabs(1, cookie) as [tab]:
            await tab.ask("5 tokens")
            disable(served.skein, viewer)
            await tab.say("5 tokens more")
            assert await tab.closed() == 1008
        assert what_was_asked(served.skein, viewer) == ["5 tokens"]

    async def test_an_expired_one_too(self, served: Served) -> None:
        viewer, cookie = served.make_person("stays too long")
        async with served.tabs(1, cookie) as [tab]:
            expire(served.skein, viewer)
            assert await tab.closed() == 1008

    async def test_others_are_left_alone(self, served: Served) -> None:
        _, kept = served.make_person("keeps the login")
        leaving, cookie = served.make_person("gives the login up")
        async with served.tabs(1, kept) as [stays], served.tabs(1, cookie) as [leaves]:
            await asyncio.to_thread(sign_out_everywhere, leaving, served.skein.database)
            assert await leaves.closed() == 1008
            assert (await stays.ask("5 tokens")).lost(5) == 0


class TestAChangedRole:
    async def test_ends_what_is_read_of_others_and_draws_the_page_anew(self, served: Served) -> None:
        owner, _ = served.make_person("owns it")
        reader, cookie = served.make_person("reads it")
        set_role(served.skein, reader, "analyst")
        turn = ask(served.skein, owner, f"{LONG} tokens")
        async with served.tabs(1, cookie, query=f"conversation={turn.conversation_id}") as [tab]:
            await until(lambda: len(tab.page.numbered()) > SOME)
            set_role(served.skein, reader, "member")
            await until(lambda: not tab.page.numbered())
            await no_page_is_drawn(served)
            assert tab.page.numbered() == []
            assert f"{LONG} tokens" not in tab.page.texts()
        stop_all(served.skein, owner)

    async def test_what_was_typed_at_that_moment_is_kept(self, served: Served) -> None:
        viewer, cookie = served.make_person("is made an analyst")
        async with served.tabs(1, cookie) as [tab]:
            set_role(served.skein, viewer, "analyst")
            await tab.say("please keep this")
            await until(lambda: "please keep this" in " ".join(tab.page.texts()))
        assert what_was_asked(served.skein, viewer) == []


class TestAFile:
    async def test_belongs_to_those_whose_page_shows_it(self, served: Served) -> None:
        _, own = served.make_person("has a page")
        _, other = served.make_person("has its address")
        async with served.tabs(1, own) as [_]:
            session_id = own_session(served)
            files = get_instance().media_file_mgr
            file_id = files._storage.load_and_get_id(b"of one person", "text/plain", "media")
            files._files_by_session_and_coord.setdefault(session_id, {})["0"] = file_id
            path = files._storage.get_url(file_id)
            upload = f"/_stcore/upload_file/{session_id}/1"
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.port}") as client:
                assert (await client.get(path, headers={"cookie": own})).text == "of one person"
                assert (await client.get(path, headers={"cookie": other})).status_code == 404
                refused = await client.put(upload, headers={"cookie": other}, files={"file": b"x"})
                assert refused.status_code == 404
                assert (await client.get(path)).status_code == 401


def own_session(served: Served) -> str:
    [info] = get_instance()._session_mgr.list_active_sessions()
    return info.session.id


async def until(is_so) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.02)


async def no_page_is_drawn(served: Served) -> None:
    await until(lambda: not served.is_drawing())


def disable(skein: Skein, viewer: Viewer) -> None:
    accounts.set_disabled(as_admin(skein), skein.database, user_id=viewer.user_id, disabled=True)


def set_role(skein: Skein, viewer: Viewer, role: str) -> None:
    accounts.set_role(as_admin(skein), skein.database, user_id=viewer.user_id, role=role)


def expire(skein: Skein, viewer: Viewer) -> None:
    ended = update(Login).where(col(Login.user_id) == viewer.user_id)
    skein.database.write(lambda db: db.execute(ended.values(expires_at=utc_now() - timedelta(seconds=1))))


def stop_all(skein: Skein, viewer: Viewer) -> None:
    for run in skein.engine.active(viewer):
        skein.engine.stop(viewer, run.thread_id)
