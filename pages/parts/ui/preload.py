"""Loads what pages need before anybody asks for it, once the server answers: first visitors do not wait for it.

It goes module by module, the chat's first, so that whoever comes meanwhile waits for none that they do not need.
"""

import gc
import inspect
import time
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

_PARTS = Path(__file__).parent.parent
_HEAD_START = 0.1  # seconds in which the server begins to answer
# Among them what Streamlit, pandas and Altair load only once they are asked for an icon, a table or a chart.
_FOR_CHAT = (
    "streamlit.emojis",
    "streamlit.material_icon_names",
    "pages.parts.ui.guard",
    "pages.parts.chat.conversation_list",
    "pages.parts.artifacts.artifact_panel",
    "pages.parts.chat.agent_options",
    "pages.parts.chat.unsent",
)
_FOR_OTHERS = (
    "core.calls.pricing.own_prices",
    "core.records.erasure",
    "pandas.io.formats.style",
    "narwhals._pandas_like.dataframe",
    "narwhals._pandas_like.namespace",
    "narwhals._interchange.dataframe",
)


def load_rest() -> None:
    """Import every part of every page; to be called in a thread of its own."""
    time.sleep(_HEAD_START)
    _load(_FOR_CHAT)
    _load(sorted(f"pages.parts.{path.parent.name}.{path.stem}" for path in _PARTS.glob("*/*.py")))
    _load(_FOR_OTHERS)
    # All that is here now stays: no collection need look through it. What was there before is left out already.
    gc.collect()
    gc.freeze()


def _load(names: Iterable[str]) -> None:
    for name in names:
        import_module(name)
    # The first element that is ever drawn asks who called, for which Python finds the file of every module once.
    inspect.stack()
