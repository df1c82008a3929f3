"""The door, around a small real application that tells what reached it."""

import asyncio
import base64
import hashlib
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
import streamlit
from argon2 import PasswordHasher
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from core.access import accounts, passwords, sign_in
from core.access.web import build_middleware, build_routes, routes, setup_link
from core.access.web.hosts import client_address, is_allowed_host, is_own_origin, local_path, read_networks
from core.access.web.middleware import content_security_policy
from core.access.web.tokens import is_setup_token, read_login, sign_login
from core.database import Database
from core.errors import OutageError, SettingsError
from core.settings import Settings, load_settings

PASSWORD = "correct horse"
SECRET = "s" * 64
SITE = "http://localhost"
STREAM = "ws://localhost/_stcore/stream"
PAGE = {"accept": "text/html"}


@dataclass
class SmallHouse:
    settings: Settings
    database: Database
    secret_key: str = SECRET


@pytest.fixture(autouse=True)
def _cheap_hashing(monkeypatch):
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    passwords._decoy.cache_clear()


@pytest.fixture
def house(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'skein.db'}")
    database.migrate()
    yield SmallHouse(load_settings(data_dir=tmp_path, _env_file=None), database)
    database.close()


@pytest.fixture
def guest(house):
    with open_browser(house) as client:
        yield client


@pytest.fixture
def admin(house):
    accounts.create_first_admin(house.database, name="Ada", password=PASSWORD)
    with open_browser(house) as client:
        enter(client)
        yield client


@pytest.fixture
def member(house, admin):
    viewer = sign_in.find_viewer(house.database, login_of(admin))
    accounts.create_account(viewer, house.database, name="mo", password=PASSWORD, role="member")
    with open_browser(house) as client:
        enter(client, "mo")
        yield client


def open_browser(house, site=SITE, client=("testclient", 50_000)):
    app = build_app(house)
    return TestClient(app, base_url=site, follow_redirects=False, headers={"origin": site}, client=client)


def build_app(house):
    def open_house():
        return house

    async def tell(request: Request) -> JSONResponse:
        logins, origin = request.headers.getlist("x-skein-login"), request.headers.get("origin")
        return JSONResponse({"path": request.url.path, "logins": logins, "origin": origin})

    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json(websocket.headers.getlist("x-skein-login"))
        await websocket.close()

    inside = [
        WebSocketRoute("/_stcore/stream", talk),
        Route("/{path:path}", tell, methods=["GET", "HEAD", "POST", "PUT", "DELETE"]),
    ]
    return Starlette(routes=[*build_routes(open_house), *inside], middleware=build_middleware(open_house))


def enter(client, name="ada", password=PASSWORD, **more):
    return client.post("/sign-in", data={"name": name, "password": password, **more})


def login_of(client):
    return read_login(client.cookies["skein_login"], secret_key=SECRET)


class TestSettingUp:
    def test_the_link_makes_the_first_admin_and_signs_in(self, house, guest):
        link = setup_link(house.settings, SECRET, port=8000)
        assert link.startswith("http://localhost:8000/setup?token=")
        token = parse_qs(urlsplit(link).query)["token"][0]
        assert "Create the account" in guest.get("/setup", params={"token": token}).text
        form = {"token": token, "name": "Ada", "password": PASSWORD, "again": PASSWORD}
        answer = guest.post("/setup", data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert sign_in.find_viewer(house.database, login_of(guest)).role == "admin"

    def test_the_link_is_good_once(self, house, admin):
        token = setup_link(house.settings, SECRET).split("token=")[1]
        assert admin.get("/setup", params={"token": token}).headers["location"] == "/sign-in"
        form = {"token": token, "name": "Eve", "password": PASSWORD, "again": PASSWORD}
        assert admin.post("/setup", data=form).headers["location"] == "/sign-in"
        viewer = sign_in.find_viewer(house.database, login_of(admin))
        assert [account.name for account in accounts.list_accounts(viewer, house.database)] == ["ada"]

    def test_without_the_link_nobody_can(self, house, guest):
        assert "set-up link" in guest.get("/setup").text
        for token in ("", "x", sign_login("first-admin", secret_key=SECRET)):
            form = {"token": token, "name": "Eve", "password": PASSWORD, "again": PASSWORD}
            assert guest.post("/setup", data=form).status_code == 409
        assert not accounts.has_accounts(house.database)

    def test_a_link_of_another_key_or_day_is_refused(self, house, monkeypatch):
        token = setup_link(house.settings, "t" * 64).split("token=")[1]
        assert not is_setup_token(token, secret_key=SECRET)
        token = setup_link(house.settings, SECRET).split("token=")[1]
        assert is_setup_token(token, secret_key=SECRET)
        monkeypatch.setattr("core.access.web.tokens._SETUP_SECONDS", -1)
        assert not is_setup_token(token, secret_key=SECRET)

    def test_what_was_typed_stays_but_passwords_do_not(self, house, guest):
        token = setup_link(house.settings, SECRET).split("token=")[1]
        form = {"token": token, "name": '<b>"Ada"', "password": PASSWORD, "again": "another horse"}
        answer = guest.post("/setup", data=form)
        assert answer.status_code == 400
        assert "two passwords differ" in answer.text
        assert "&lt;b&gt;&#34;Ada&#34;" in answer.text
        assert "horse" not in answer.text

    def test_until_then_every_page_leads_there(self, guest):
        assert guest.get("/account", headers=PAGE).headers["location"] == "/setup"
        assert guest.get("/sign-in").headers["location"] == "/setup"


class TestSigningIn:
    def test_sets_a_cookie_scripts_cannot_read(self, admin):
        cookie = enter(admin).headers["set-cookie"]
        assert re.search(r"HttpOnly; Max-Age=2592000; Path=/; SameSite=lax$", cookie), cookie

    @pytest.mark.parametrize("forwarded", ["https", "HTTPS,http"])
    def test_behind_https_the_cookie_is_secure(self, admin, forwarded):
        answer = admin.post(
            "/sign-in",
            data={"name": "ada", "password": PASSWORD},
            headers={"x-forwarded-proto": forwarded, "origin": "https://localhost"},
        )
        assert answer.headers["set-cookie"].endswith("; Secure")

    def test_goes_on_to_where_they_wanted(self, house, admin):
        with open_browser(house) as client:
            door = client.get("/chat?conversation=conv_1&x=%E5%BC%A0", headers=PAGE)
            assert door.status_code == 303
            page = client.get(door.headers["location"])
            target = re.search(r'name="next" value="([^"]*)"', page.text)[1].replace("&amp;", "&")
            assert target == "/chat?conversation=conv_1&x=%E5%BC%A0"
            assert enter(client, next=target).headers["location"] == target

    def test_a_wrong_password_keeps_the_name(self, admin):
        answer = enter(admin, 'Ada"', "not the password")
        assert answer.status_code == 401
        assert "Name or password is wrong" in answer.text
        assert 'value="Ada&#34;"' in answer.text
        assert "not the password" not in answer.text
        assert "set-cookie" not in answer.headers

    def test_after_five_failures_it_says_how_long_to_wait(self, admin):
        for _ in range(5):
            enter(admin, "ada", "not the password")
        answer = enter(admin)
        assert answer.status_code == 429
        assert "try again in 1 s" in answer.text

    def test_signed_in_already_it_goes_on(self, admin):
        assert admin.get("/sign-in?next=/account").headers["location"] == "/account"

    def test_the_login_is_stored_with_address_and_browser(self, house, admin):
        viewer = sign_in.find_viewer(house.database, login_of(admin))
        login = sign_in.list_logins(viewer, house.database)[0]
        assert (login.address, login.browser) == ("testclient", "testclient")

    @pytest.mark.parametrize(
        "target",
        ["//evil.com", "https://evil.com", "/\\evil.com", "javascript:alert(1)", "evil", "",
         "/a\nb", "/\t/evil.com", "/sign-in?next=/", "/x" * 2000],
    )  # fmt: skip
    def test_a_redirect_never_leaves_this_site(self, admin, target):
        assert local_path(target) == "/"
        assert enter(admin, next=target).headers["location"] == "/"


class TestManyAtOnce:
    """A hundred and fifty strangers at the door: hashing is slow on purpose, and must be so for nobody else."""

    def test_hash_in_threads_of_their_own_and_pages_go_on(self, house, admin, monkeypatch):
        with ThreadPoolExecutor(1) as elsewhere:  # the main thread's loop is that of other tests
            elsewhere.submit(asyncio.run, self.come_at_once(house, admin, monkeypatch)).result()

    async def come_at_once(self, house, admin, monkeypatch):
        gate, guard, hashing, most = threading.Event(), threading.Lock(), [0], [0]
        is_right = passwords.is_right

        def held(password, *, password_hash):
            with guard:
                hashing[0] += 1
                most[0] = max(most[0], hashing[0])
            gate.wait(30)
            with guard:
                hashing[0] -= 1
            return is_right(password, password_hash=password_hash)

        monkeypatch.setattr(passwords, "is_right", held)
        transport = httpx2.ASGITransport(app=build_app(house))
        async with httpx2.AsyncClient(transport=transport, base_url=SITE, headers={"origin": SITE}) as strangers:
            tries = [
                asyncio.create_task(strangers.post("/sign-in", data={"name": f"n{number}", "password": "x" * 9}))
                for number in range(150)
            ]
            cookies = {"cookie": f"skein_login={admin.cookies['skein_login']}"}
            while sum(task.done() for task in tries) < 150 - routes._MOST_WAITING - passwords.AT_ONCE:
                assert (await strangers.get("/account", headers=cookies)).status_code == 200
            assert (await strangers.get("/sign-in")).status_code == 200
            gate.set()
            answers = await asyncio.gather(*tries)
        sent_away = [answer for answer in answers if answer.status_code == 503]
        assert most[0] <= passwords.AT_ONCE
        assert len(sent_away) == 150 - routes._MOST_WAITING - passwords.AT_ONCE
        assert "Very many people are signing in" in sent_away[0].text
        assert sent_away[0].headers["retry-after"]
        assert {answer.status_code for answer in answers if answer not in sent_away} == {401}


class TestFailures:
    """Nothing is ever a bare 500."""

    def test_of_a_full_disk_at_sign_in_are_a_sentence_and_keep_the_name(self, house, admin):
        page_count = "PRAGMA max_page_count = {}"
        house.database.write(lambda db: db.execute(text(page_count.format(1))).all())
        try:
            answers = [enter(admin, f"somebody{number}{'x' * 40}") for number in range(60)]
        finally:
            house.database.write(lambda db: db.execute(text(page_count.format(1_000_000))).all())
        answer = next(answer for answer in answers if answer.status_code != 401)
        assert (answer.status_code, answer.headers["retry-after"]) == (507, "5")
        assert "The disk is full" in answer.text
        assert 'value="somebody' in answer.text

    @pytest.mark.parametrize("accept", ["text/html", "application/json"])
    @pytest.mark.parametrize(
        ("method", "path"),
        [("GET", "/sign-in"), ("POST", "/sign-out"), ("GET", "/setup"), ("GET", "/media/x"), ("GET", "/")],
    )
    def test_nobody_foresaw_are_a_sentence_with_a_reference_to_the_log(
        self, house, admin, monkeypatch, capsys, method, path, accept
    ):
        def fail(*_args, **_named):
            raise RuntimeError("the words of this are nobody's business")

        for name in ("find", "read", "write"):
            monkeypatch.setattr(house.database, name, fail)
        answer = admin.request(method, path, headers={"accept": accept})
        assert answer.status_code == 500
        assert "nobody's business" not in answer.text
        assert "Traceback" not in answer.text
        reference = re.search(r"as ([0-9a-f]{8})", answer.text)[1]
        assert reference in capsys.readouterr().out
        assert ("<h1>Something went wrong</h1>" in answer.text) == (accept == "text/html")

    def test_of_a_database_that_is_away_say_so(self, house, admin, monkeypatch):
        def fail(*_args, **_named):
            raise OutageError("The database does not answer; please try again in a moment.")

        monkeypatch.setattr(house.database, "find", fail)
        answer = admin.get("/account", headers=PAGE)
        assert (answer.status_code, "does not answer" in answer.text) == (503, True)
        with pytest.raises(WebSocketDisconnect) as refused:
            admin.websocket_connect(STREAM).__enter__()
        assert refused.value.code == 1013


class TestForms:
    @pytest.mark.parametrize("path", ["/sign-in", "/setup", "/sign-out"])
    @pytest.mark.parametrize(
        "headers",
        [{"origin": "http://evil.com"}, {"origin": "null"}, {"origin": "", "referer": "http://evil.com/localhost"},
         {"origin": ""}],
    )  # fmt: skip
    def test_from_another_site_are_refused(self, house, admin, path, headers):
        answer = admin.post(path, data={"name": "ada", "password": PASSWORD}, headers=headers)
        assert answer.status_code == 403
        assert "another site" in answer.text
        assert sign_in.find_viewer(house.database, login_of(admin)) is not None

    def test_with_a_referer_of_ours_are_taken(self, admin):
        headers = {"origin": "", "referer": f"{SITE}/sign-in"}
        answer = admin.post("/sign-in", data={"name": "ada", "password": PASSWORD}, headers=headers)
        assert answer.status_code == 303

    def test_too_large_or_without_a_length_are_refused(self, admin):
        assert admin.post("/sign-in", data={"name": "x" * 30_000}).status_code == 413
        assert admin.post("/sign-in", content=iter([b"name=ada"])).status_code == 413

    def test_that_are_no_forms_are_wrong_names(self, admin):
        headers = {"content-type": "application/json"}
        assert admin.post("/sign-in", content=b"{}", headers=headers).status_code == 401


class TestSigningOut:
    def test_ends_the_login_and_takes_the_cookie(self, house, admin):
        login_id = login_of(admin)
        answer = admin.post("/sign-out")
        assert answer.headers["location"] == "/sign-in"
        assert 'skein_login=""' in answer.headers["set-cookie"]
        assert sign_in.find_viewer(house.database, login_id) is None

    def test_is_no_link(self, admin):
        assert admin.get("/sign-out", headers=PAGE).json()["path"] == "/sign-out"
        assert admin.get("/account").status_code == 200


class TestIdentity:
    def test_is_told_to_what_lies_behind(self, house, admin):
        assert admin.get("/account").json()["logins"] == [login_of(admin)]

    def test_that_came_from_outside_is_dropped(self, house, admin, member):
        forged = {"x-skein-login": login_of(admin), "X-SKEIN-LOGIN": login_of(admin)}
        assert member.get("/account", headers=forged).json()["logins"] == [login_of(member)]
        with member.websocket_connect(STREAM, headers=forged) as websocket:
            assert websocket.receive_json() == [login_of(member)]

    @pytest.mark.parametrize(
        "path", ["/", "/chat", "/account", "/admin", "/frame", "/_stcore/script-health-check", "/media/x"]
    )
    def test_a_guest_gets_nothing(self, house, admin, path):
        with open_browser(house) as client:
            forged = {"x-skein-login": login_of(admin)}
            assert client.get(path, headers=forged).status_code == 401
            assert client.post(path, headers=forged | PAGE).status_code == 401
            door = client.get(path, headers=forged | PAGE)
            assert (door.status_code, door.headers["location"][:8]) == (303, "/sign-in")

    def test_a_guest_gets_no_websocket(self, house, admin):
        forged = {"x-skein-login": login_of(admin)}
        with open_browser(house) as client, pytest.raises(WebSocketDisconnect) as refused:
            client.websocket_connect(STREAM, headers=forged).__enter__()
        assert refused.value.code == 1008

    @pytest.mark.parametrize("path", ["/_stcore/health", "/_stcore/host-config", "/static/js/x.js", "/favicon.png"])
    def test_what_tells_nothing_is_open_and_nameless(self, house, admin, path):
        with open_browser(house) as client:
            assert client.get(path, headers={"x-skein-login": login_of(admin)}).json()["logins"] == []

    def test_ends_with_the_login_at_once(self, house, member, admin):
        viewer = sign_in.find_viewer(house.database, login_of(member))
        sign_in.sign_out_everywhere(viewer, house.database)
        assert member.get("/account").status_code == 401
        with pytest.raises(WebSocketDisconnect):
            member.websocket_connect(STREAM).__enter__()
        assert admin.get("/account").status_code == 200

    @pytest.mark.parametrize("value", ["", "x", "a.b", "ImxvZ2luXzEi.x", '"', "x" * 5000])
    def test_a_cookie_we_did_not_sign_is_nobody(self, house, admin, value):
        with open_browser(house) as client:
            assert client.get("/account", headers={"cookie": f"skein_login={value}"}).status_code == 401

    def test_a_cookie_of_another_key_is_nobody(self, house, admin):
        cookie = sign_login(login_of(admin), secret_key="t" * 64)
        with open_browser(house) as client:
            assert client.get("/account", headers={"cookie": f"skein_login={cookie}"}).status_code == 401

    @pytest.mark.parametrize("path", ["/_stcore/metrics", "/_stcore/agent/interact", "/_stcore/agent/mcp"])
    def test_only_admins_see_what_tells_about_everybody(self, house, admin, member, path):
        with open_browser(house) as client:
            assert client.get(path, headers=PAGE).status_code == 404
        assert member.get(path, headers=PAGE).status_code == 404
        assert admin.get(path).status_code == 200


class TestHosts:
    @pytest.mark.parametrize(
        ("host", "allowed"),
        [("localhost", True), ("LOCALHOST:8501", True), ("localhost.", True), ("127.0.0.1:1", True),
         ("[::1]:8501", True), ("[::1]", True), ("a.example.com", True), ("skein.test:443", True),
         ("example.com", False), ("evil.com", False), ("localhost.evil.com", False), ("localhost:x", False),
         ("localhost@evil.com", False), ("evil.com@localhost", False), ("localhost/x", False), ("", False),
         ("[::1", False)],
    )  # fmt: skip
    def test_allowed_are_those_named(self, host, allowed):
        names = ["localhost", "127.0.0.1", "[::1]", "*.example.com"]
        assert is_allowed_host(host, names, "https://skein.test/x") == allowed

    def test_a_star_allows_all(self):
        assert is_allowed_host("evil.com:1", ["*"])

    def test_another_one_is_refused_with_a_sentence(self, house, admin):
        answer = admin.get("/sign-in", headers={"host": "evil.com"})
        assert answer.status_code == 400
        assert "SKEIN_ALLOWED_HOSTS" in answer.text
        with pytest.raises(WebSocketDisconnect):
            admin.websocket_connect(STREAM, headers={"host": "evil.com"}).__enter__()


class TestOrigins:
    """Whose page asks: cookies know no port, so that a page of any other server on this machine has ours."""

    @pytest.mark.parametrize(
        ("origin", "host", "scheme", "own"),
        [
            ("http://localhost:8501", "localhost:8501", "", True),
            ("http://localhost:9999", "localhost:8501", "", False),
            ("http://localhost", "localhost:8501", "", False),
            ("http://localhost:8501", "localhost", "", False),
            ("http://LOCALHOST:8501", "localhost:8501", "", True),
            ("http://127.0.0.1:8501", "localhost:8501", "", False),
            ("http://localhost", "localhost:80", "", True),
            ("http://localhost:80", "localhost", "", True),
            ("https://a.test", "a.test", "https", True),
            ("https://a.test:443", "a.test", "https", True),
            ("https://a.test", "a.test:443", "https", True),
            ("http://a.test", "a.test", "https", False),
            ("https://a.test", "a.test", "", True),
            ("https://a.test:8443", "a.test", "https", False),
            ("http://[::1]:8501", "[::1]:8501", "", True),
            ("http://[::1]:9999", "[::1]:8501", "", False),
            ("http://evil.com", "localhost:8501", "", False),
            ("http://localhost:8501@evil.com", "evil.com", "", False),
            ("http://localhost.evil.com:8501", "localhost:8501", "", False),
            ("null", "localhost:8501", "", False),
            ("file://", "localhost:8501", "", False),
            ("http://localhost:x", "localhost:x", "", False),
            ("localhost:8501", "localhost:8501", "", False),
            ("", "", "", False),
            ("https://skein.test", "10.0.0.7:8501", "", True),
            ("https://skein.test:443", "skein", "https", True),
            ("http://skein.test", "10.0.0.7:8501", "", False),
            ("https://skein.test:8443", "10.0.0.7:8501", "", False),
        ],
    )
    def test_are_this_host_and_port_or_the_public_one(self, origin, host, scheme, own):
        assert is_own_origin(origin, host=host, scheme=scheme, public_url="https://skein.test/x") == own

    @pytest.mark.parametrize("origin", ["http://localhost:9999", "http://evil.com", "null", "https://localhost:1"])
    def test_of_others_get_neither_a_websocket_nor_an_answer(self, house, admin, origin):
        with pytest.raises(WebSocketDisconnect) as refused:
            admin.websocket_connect(STREAM, headers={"origin": origin}).__enter__()
        assert refused.value.code == 1008
        for method in ("GET", "POST", "PUT", "DELETE"):
            answer = admin.request(method, "/_stcore/upload_file/x/y", headers={"origin": origin})
            assert (answer.status_code, "another site" in answer.text) == (403, True)

    def test_of_two_that_are_sent_both_count(self, admin):
        headers = [("origin", SITE), ("origin", "http://evil.com")]
        assert admin.post("/_stcore/upload_file/x/y", headers=headers).status_code == 403

    def test_of_programs_that_name_none_are_let_by_with_their_cookie_alone(self, house, admin):
        with admin.websocket_connect(STREAM, headers={"origin": ""}) as websocket:
            assert websocket.receive_json() == [login_of(admin)]

    def test_that_differ_from_the_host_are_put_into_its_words_for_streamlit(self, house, admin):
        house.settings = house.settings.model_copy(update={"public_url": "https://skein.test"})
        headers = {"origin": "https://skein.test", "x-forwarded-proto": "https"}
        assert admin.get("/account", headers=headers).json()["origin"] == "https://localhost"


class TestAddresses:
    """Who connects, when a proxy stands before the server: what a visitor writes is never believed."""

    @pytest.mark.parametrize(
        ("connected", "forwarded", "address"),
        [
            ("203.0.113.9", [], "203.0.113.9"),
            ("::ffff:203.0.113.9", [], "203.0.113.9"),
            ("::1", [], "::1"),
            ("::ffff:127.0.0.1", ["203.0.113.9"], "203.0.113.9"),
            ("127.0.0.1", ["203.0.113.9"], "203.0.113.9"),
            ("::1", ["203.0.113.9"], "203.0.113.9"),
            ("::ffff:127.0.0.1", [], "127.0.0.1"),
            ("127.0.0.1", ["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
            ("127.0.0.1", ["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
            ("127.0.0.1", ["203.0.113.9, ::ffff:10.1.2.3"], "203.0.113.9"),
            ("127.0.0.1", ["203.0.113.9:4711"], "203.0.113.9"),
            ("127.0.0.1", ["[2001:db8::9]:4711"], "2001:db8::9"),
            ("127.0.0.1", ["2001:DB8:0::9"], "2001:db8::9"),
            ("127.0.0.1", ["nonsense"], "127.0.0.1"),
            ("127.0.0.1", ["x" * 5000], "127.0.0.1"),
            ("127.0.0.1", [""], "127.0.0.1"),
            ("127.0.0.1", ["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
            ("203.0.113.9", ["6.6.6.6"], "203.0.113.9"),
            ("192.168.0.1", ["6.6.6.6"], "192.168.0.1"),
            ("unix", ["6.6.6.6"], "unix"),
            ("", [], ""),
        ],
    )
    def test_are_read_from_the_right_past_proxies_that_are_trusted(self, connected, forwarded, address):
        trusted = read_networks(["127.0.0.1", "::1", "10.0.0.0/8"])
        assert client_address(connected, forwarded, trusted) == address

    def test_of_two_visitors_behind_a_proxy_have_a_limit_each(self, house, admin):
        def try_from(address, password="not the password"):
            with open_browser(house, client=("::ffff:127.0.0.1", 1)) as client:
                form = {"name": "ada", "password": password}
                return client.post("/sign-in", data=form, headers={"x-forwarded-for": f"6.6.6.6, {address}"})

        assert [try_from("203.0.113.9").status_code for _ in range(6)] == [401] * 5 + [429]
        assert try_from("203.0.113.10", PASSWORD).status_code == 303

    def test_in_the_setting_are_addresses_or_networks(self, tmp_path):
        with pytest.raises(SettingsError, match=r"SKEIN_TRUSTED_PROXIES: each must be an address"):
            load_settings(data_dir=tmp_path, trusted_proxies="10.0.0.0/8,proxy.test", _env_file=None)


class TestHeaders:
    def test_stand_on_every_answer(self, house, admin):
        for path in ("/sign-in", "/sign-in.css", "/account", "/_stcore/health"):
            headers = admin.get(path).headers
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"

    def test_allow_streamlits_one_inline_script(self):
        page = (Path(streamlit.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
        scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
        policy = content_security_policy("localhost")
        for script in scripts:
            assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
        assert len(scripts) == 1

    def test_allow_nothing_from_elsewhere(self):
        policy = dict(part.split(" ", 1) for part in content_security_policy("a:1").split("; "))
        assert policy["img-src"] == "'self' data: blob:"
        assert policy["connect-src"] == "'self' ws://a:1 wss://a:1"
        assert "unsafe-eval'" not in policy["script-src"].replace("'wasm-unsafe-eval'", "")
        assert "unsafe-inline" not in policy["script-src"]

    def test_our_own_pages_load_only_what_we_serve(self, house, admin):
        with open_browser(house) as client:
            page = client.get("/sign-in").text
            for address in re.findall(r'(?:href|src)="([^"]+)"', page):
                assert client.get(address).status_code == 200
            assert "<script" not in page
