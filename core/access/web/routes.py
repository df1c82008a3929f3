"""The plain HTML pages before Streamlit: set-up, sign-in, sign-out. They work without JavaScript.

Invariant: a form is only believed when one of our own pages sent it, and what was typed, but for passwords,
stands there again beside the sentence that says what is wrong.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from core.access import accounts, passwords, sign_in
from core.access.viewer import Viewer
from core.access.web.hosts import is_own_origin, local_path
from core.access.web.house import House, OpenHouse
from core.access.web.middleware import known_scheme
from core.access.web.tokens import COOKIE, is_setup_token, sign_login
from core.errors import BadInputError, BusyError, ConflictError, SignInError, SkeinError

_PAGES = Path(__file__).parent / "html"
ICON = _PAGES / "icon.svg"
_LONGEST_FORM = 20_000
_STATUS = ((SignInError, 401), (ConflictError, 409), (BusyError, 429), (SkeinError, 400))
_templates = Jinja2Templates(directory=_PAGES)

Answer = Callable[[Request, House], Awaitable[Response]]


def build_routes(open_house: OpenHouse) -> list[Route]:
    """The door's routes, to stand before Streamlit's."""

    def route(path: str, method: str, answer: Answer) -> Route:
        async def endpoint(request: Request) -> Response:
            house = open_house()
            if method == "POST" and (refusal := _refuse_form(request, house)):
                return refusal
            return await answer(request, house)

        return Route(path, endpoint, methods=[method])

    return [
        route("/sign-in", "GET", show_sign_in),
        route("/sign-in", "POST", take_sign_in),
        route("/setup", "GET", show_setup),
        route("/setup", "POST", take_setup),
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


async def take_sign_in(request: Request, house: House) -> Response:
    form = await request.form()
    name, target = _field(form, "name"), local_path(_field(form, "next"))
    try:
        viewer = await _sign_in(request, house, name=name, password=_field(form, "password"))
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


async def take_setup(request: Request, house: House) -> Response:
    form = await request.form()
    name, password, token = _field(form, "name"), _field(form, "password"), _field(form, "token")
    if not is_setup_token(token, secret_key=house.secret_key):
        return _page(request, "no_setup.html", error=ConflictError("This set-up link is no longer good."))
    try:
        if password != _field(form, "again"):
            raise BadInputError("The two passwords differ; please type the same one twice.")
        create = partial(accounts.create_first_admin, house.database, name=name, password=password)
        await run_in_threadpool(create)
        viewer = await _sign_in(request, house, name=name, password=password)
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
    return FileResponse(_PAGES / "sign_in.css", headers={"Cache-Control": "no-cache"})


async def _show_icon(_request: Request) -> Response:
    return FileResponse(ICON, headers={"Cache-Control": "no-cache"})


async def _sign_in(request: Request, house: House, *, name: str, password: str) -> Viewer:
    """Hashing and the database take their time: not on the event loop."""
    work = partial(
        sign_in.sign_in,
        house.database,
        name=name,
        password=password,
        address=request.client.host if request.client else "",
        browser=request.headers.get("user-agent", ""),
        days=house.settings.sign_in_days,
    )
    return await run_in_threadpool(work)


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
        return _message(request, 413, "This form is too large", "Please go back and type less.")
    if not is_own_origin(
        headers.get("origin") or headers.get("referer") or "",
        host=headers.get("host", ""),
        scheme=known_scheme(request.scope),
        public_url=house.settings.public_url,
    ):
        return _message(
            request,
            403,
            "This form came from another site",
            "Please open Skein itself and try again; behind a proxy, its operator sets SKEIN_PUBLIC_URL.",
        )
    return None


def _field(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else ""


def _go(target: str) -> Response:
    return RedirectResponse(target, 303, {"Cache-Control": "no-store"})


def _setup_page(request: Request, *, token: str, name: str = "", error: SkeinError | None = None) -> Response:
    return _page(request, "setup.html", error=error, token=token, name=name, shortest=passwords.SHORTEST)


def _message(request: Request, status: int, title: str, text: str) -> Response:
    return _templates.TemplateResponse(request, "message.html", {"title": title, "text": text}, status)


def _page(request: Request, template: str, *, error: SkeinError | None = None, **shown: object) -> Response:
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 200)
    context = {"error": str(error) if error else "", **shown}
    return _templates.TemplateResponse(request, template, context, status, {"Cache-Control": "no-store"})
