"""What must not get into the call log: credentials in the definition of a tool, or in an address.

Invariant: what is taken out is shown as ``***``; words that only speak of keys stay as they are. Errors and texts
pass through ``core.outside``, as everywhere.
"""

from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from core.outside import HIDDEN, hide_looks

_HIDDEN = ("authorization", "headers", "api_key", "apikey", "token", "access_token", "credentials", "password")


def hide_credentials(value: Any) -> Any:
    """Tool definitions without the credentials that some servers take in them; what models read stays as it is."""
    if isinstance(value, dict):
        return {
            key: HIDDEN if key.lower() in _HIDDEN and not _is_schema(item) else hide_credentials(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [hide_credentials(item) for item in value]
    return hide_looks(value) if isinstance(value, str) else value


@lru_cache(maxsize=1_000)
def without_credentials(url: str) -> str | None:
    """An address without name, password, query and fragment; None when it is none."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return None
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def _is_schema(value: Any) -> bool:
    """Whether this describes an argument of that name, as in a tool that takes a token."""
    return isinstance(value, dict) and bool({"type", "anyOf", "$ref", "enum", "description"} & value.keys())
