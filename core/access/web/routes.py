"""The plain HTML pages before Streamlit: set-up, sign-in, sign-out. They work without JavaScript.

Invariant: a form is only believed when one of our own pages sent it, and what was typed, but for passwords,
stands there again beside the sentence that says what is wrong.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from core.access import accounts, passwords, sign_in
from core.access.viewer import Viewer
from core.access.web.hosts import is_own_origin, local_path
from core.access.web.house import House, OpenHouse
from core.access.web.messages import PAGES, headers_of, message, status_of, templates
from core.access.web.middleware import FROM_ANOTHER_SITE, known_scheme
from core.access.web.tokens import COOKIE, is_setup_token, sign_login
from core.errors import BadInputError, ConflictError, OutageError, SkeinError

ICON = PAGES / "icon.svg"
_LONGEST_FORM = 20_000
_MOST_WAITING = 60

T = TypeVar("T")
Answer = Callable[[Request, House], Awaitable[Response]]


class _CrowdError(OutageError):
    """More people sign in than can be let in by now."""


class _Hashing:
    """A few threads of its own for what hashes a password, which is slow on purpose: pages never wait for it."""

    def __init__(self, at_once: int, most_waiting: int) -> None:
        self._pool = ThreadPoolExecutor(at_once, "skein-hashing")
        self._room = at_once + most_waiting

    async def run(self, work: Callable[[], T]) -> T:
        """Do the work there; _CrowdError when too much waits for it already."""
        if self._room <= 0:
            raise _CrowdError("Very many people are signing in just now; please try again in a moment.")
        self._room -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._room += 1


def build_routes(open_house: OpenHouse) -> list[Route]:
    """The door's routes, to stand before Streamlit's."""
    hashing = _Hashing(passwords.AT_ONCE, _MOST_WAITING)

    def route(path: str, method: str, answer: Answer) -> Route:
        async def endpoint(request: Request) -> Response:
            house = open_house()
            if method == "POST" and (refusal := _refuse_form(request, house)):
                return refusal
            return await answer(request, house)

        return Route(path, endpoint, methods=[method])

    return [
        route("/sign-in", "GET", show_sign_in),
        route("/sign-in", "POST", partial(take_sign_in, hashing)),
        route("/setup", "GET", show_setup),
        route("/setup", "POST", partial(take_setup, hashing)),
        route("/sign-out", "POST", take_sign_out),
        Route("/sign-in.css", _show_css),
        Route("/sign-in.svg", _show_icon),
    ]


async def show_sign_in(request: Request, house: House) -> Response:
    target = local_path(request.query_params.get("next", "/"))
    if request.scope.get("viewer"):
        return _go(target)
    if not await run_in_threadpool(accounts.has_accounts, house.database):
        return _go("/setup")
    return _page(request, "sign_in.html", next=target)


async def take_sign_in(hashing: _Hashing, request: Request, house: House) -> Response:
    form = await request.form()
    name, target = _field(form, "name"), local_path(_field(form, "next"))
    try:
        viewer = await _sign_in(hashing, request, house, name=name, password=_field(form, "password"))
    except SkeinError as error:
        return _page(request, "sign_in.html", error=error, name=name, next=target)
    return _signed_in(request, house, viewer, target)


async def show_setup(request: Request, house: House) -> Response:
    if await run_in_threadpool(accounts.has_accounts, house.database):
        return _go("/sign-in")
    token = request.query_params.get("token")
    if token is None:
        return _page(request, "no_setup.html")
    if not is_setup_token(token, secret_key=house.secret_key):
        return _page(request, "no_setup.html", error=ConflictError("This set-up link is no longer good."))
    return _setup_page(request, token=token)


async def take_setup(hashing: _Hashing, request: Request, house: House) -> Response:
    form = await request.form()
    name, password, token = _field(form, "name"), _field(form, "password"), _field(form, "token")
    if not is_setup_token(token, secret_key=house.secret_key):
        return _page(request, "no_setup.html", error=ConflictError("This set-up link is no longer good."))
    try:
        if password != _field(form, "again"):
            raise BadInputError("The two passwords differ; please type the same one twice.")
        create = partial(accounts.create_first_admin, house.database, name=name, password=password)
        await hashing.run(create)
        viewer = await _sign_in(hashing, request, house, name=name, password=password)
    except ConflictError:
        return _go("/sign-in")
    except SkeinError as error:
        return _setup_page(request, token=token, name=name, error=error)
    return _signed_in(request, house, viewer, "/")


async def take_sign_out(request: Request, house: House) -> Response:
    viewer: Viewer | None = request.scope.get("viewer")
    if viewer:
        await run_in_threadpool(sign_in.sign_out, viewer, house.database)
    response = _go("/sign-in")
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
    return response


async def _show_css(_request: Request) -> Response:
    return FileResponse(PAGES / "sign_in.css", headers={"Cache-Control": "no-cache"})


async def _show_icon(_request: Request) -> Response:
    return FileResponse(ICON, headers={"Cache-Control": "no-cache"})


async def _sign_in(hashing: _Hashing, request: Request, house: House, *, name: str, password: str) -> Viewer:
    work = partial(
        sign_in.sign_in,
        house.database,
        name=name,
        password=password,
        address=request.client.host if request.client else "",
        browser=request.headers.get("user-agent", ""),
        days=house.settings.sign_in_days,
    )
    return await hashing.run(work)


def _signed_in(request: Request, house: House, viewer: Viewer, target: str) -> Response:
    response = _go(target)
    response.set_cookie(
        COOKIE,
        sign_login(viewer.login_id or "", secret_key=house.secret_key),
        max_age=int(house.settings.sign_in_days * 24 * 60 * 60),
        path="/",
        httponly=True,
        samesite="lax",
        secure=_is_https(request),
    )
    return response


def _is_https(request: Request) -> bool:
    return known_scheme(request.scope) == "https"


def _refuse_form(request: Request, house: House) -> Response | None:
    """The answer to a form that is too large, or that another site sent; None for a good one."""
    headers = request.headers
    length = headers.get("content-length", "")
    if not length.isascii() or not length.isdigit() or int(length) > _LONGEST_FORM:
        return message(request.scope, 413, "This form is too large", "Please go back and type less.")
    if not is_own_origin(
        headers.get("origin") or headers.get("referer") or "",
        host=headers.get("host", ""),
        scheme=known_scheme(request.scope),
        public_url=house.settings.public_url,
    ):
        return message(request.scope, 403, *FROM_ANOTHER_SITE)
    return None


def _field(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else ""


def _go(target: str) -> Response:
    return RedirectResponse(target, 303, {"Cache-Control": "no-store"})


def _setup_page(request: Request, *, token: str, name: str = "", error: SkeinError | None = None) -> Response:
    return _page(request, "setup.html", error=error, token=token, name=name, shortest=passwords.SHORTEST)


def _page(request: Request, template: str, *, error: SkeinError | None = None, **shown: object) -> Response:
    status = status_of(error) if error else 200
    context = {"error": str(error) if error else "", **shown}
    return templates.TemplateResponse(request, template, context, status, headers_of(status))
