"""The door: the few plain HTML pages that stand before Streamlit, and the middleware that asks who is there.

Invariant: nothing behind the door is reached without a login that is good *now*, and nobody but the door says
who somebody is: an identity header that came from outside is dropped.
"""

from core.access.web.house import House
from core.access.web.middleware import build_middleware
from core.access.web.routes import ICON, build_routes
from core.access.web.tokens import setup_link

__all__ = ["ICON", "House", "build_middleware", "build_routes", "setup_link"]
