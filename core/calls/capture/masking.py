"""What must not get into the record: keys and credentials, wherever they stand in an address, an error or a tool.

Invariant: what is taken out is shown as ``***``; words that only speak of keys stay as they are.
"""

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

_HIDDEN = ("authorization", "headers", "api_key", "apikey", "token", "access_token", "credentials", "password")
# By their looks: all have a digit, which names like key_performance_indicator have not.
_LOOKS = (
    r"\b(?:sk|pk|rk|key|xai|gsk|hf|ghp)[-_](?=[\w.\-]*\d)[\w.\-]{12,}"
    r"|\bAIza[\w\-]{12,}"
    r"|\b(?:Bearer|Basic)\s+(?=\S*\d)[\w.\-+/=]{8,}"
    r"|(?<=://)[^/\s@]+@"
)
_NAMED = r"|\b(?:api[_-]?key|key|token|authorization|password|secret)[\"']?\s*[=:]\s*[\"']?[^\s\"'&,;]{8,}"
_SECRET = re.compile(_LOOKS, re.IGNORECASE)
_SECRET_OR_NAMED = re.compile(_LOOKS + _NAMED, re.IGNORECASE)


def mask(text: str, hide: Collection[str]) -> str:
    """The text of an error without known secrets, what looks like one, and what is called one."""
    for secret in hide:
        text = text.replace(secret, "***")
    return _SECRET_OR_NAMED.sub("***", text)


def hide_credentials(value: Any) -> Any:
    """Tool definitions without the credentials that some servers take in them; what models read stays as it is."""
    if isinstance(value, dict):
        return {
            key: "***" if key.lower() in _HIDDEN and not _is_schema(item) else hide_credentials(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [hide_credentials(item) for item in value]
    return _SECRET.sub("***", value) if isinstance(value, str) else value


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
