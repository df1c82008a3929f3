"""The ASGI entry: composes the pages, the door before them, and the one open Skein of this process.

Run it with ``streamlit run app.py``. Anything that could be called logic belongs elsewhere.
"""

import gc
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from threading import Thread

import streamlit as st
from starlette.middleware import Middleware

from core.access.accounts import has_accounts
from core.access.web import build_middleware, build_routes, setup_link
from core.access.web.connections import Connections
from core.errors import SkeinError
from core.logs import hide_in_tracebacks
from core.settings import share_model_server
from core.signals import drain_first
from core.skein import close_current, current_skein
from pages.parts.ui.failures import show_failure
from pages.parts.ui.own_files import OwnFiles
from pages.parts.ui.own_tabs import LEAD_ANEW
from pages.parts.ui.uploads import UploadBounds


@asynccontextmanager
async def lifespan(_app: st.App) -> AsyncIterator[None]:
    """Open Skein, greet a new house with its set-up link, and close when the server stops."""
    share_model_server()
    hide_in_tracebacks()
    try:
        skein = current_skein()
    except SkeinError as error:
        print(f"\n  Skein cannot start. {error}\n", file=sys.stderr, flush=True)
        os._exit(1)  # nothing is open yet, and an exception here would be shown as a traceback
    if not has_accounts(skein.database):
        link = setup_link(skein.settings, skein.secret_key, port=st.get_option("server.port"))
        print(f"\n  Skein has no account yet. Make the first one here:\n\n  {link}\n", flush=True)
    import_module("pages.parts.chat.ask")  # and with it all that the first visitor would have to wait for
    import_module("pages.parts.ui.own_tabs").name_tabs(skein.secret_key)
    seam = import_module("pages.parts.ui.seam")
    seam.watch_tabs()
    connections.on_change = seam.take_change
    drain_first(skein.drain, skein.hurry)
    # A full collection stops every stream for as long as it takes: leave out what stays, and collect rarely.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)
    Thread(target=import_module("pages.parts.ui.preload").load_rest, name="skein-preload", daemon=True).start()
    try:
        yield
    finally:
        close_current()


connections = Connections(current_skein)
app = st.App(
    Path(__file__).resolve().parent / "pages" / "frame.py",
    lifespan=lifespan,
    on_script_error=show_failure,
    routes=build_routes(current_skein),
    middleware=[
        *build_middleware(current_skein, connections, lead_anew=LEAD_ANEW),
        Middleware(OwnFiles),
        Middleware(UploadBounds),
    ],
)
