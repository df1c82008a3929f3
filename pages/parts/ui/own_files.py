"""A layer around the pages: what a page shows or offers is handed out to whoever has it open, and to nobody else.

Streamlit itself gives a file to anybody who has its address, and takes one for anybody's tab.
"""

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from pages.parts.ui.seam import holders_of


class OwnFiles:
    """Lets through what a person's own tabs ask for; it stands behind the layer that finds out who is there."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        holders = holders_of(scope["path"]) if scope["type"] == "http" else None
        viewer = scope.get("viewer")
        if holders is None or (viewer is not None and viewer.login_id in holders):
            await self.app(scope, receive, send)
        else:
            await PlainTextResponse("Not found.", 404)(scope, receive, send)
