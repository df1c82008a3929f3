"""Hosts and addresses: which names this server answers to, and where a browser may be sent.

Invariant: a redirect never leaves this site, whatever was typed into ``next``.
"""

from collections.abc import Sequence
from urllib.parse import urlsplit

_LONGEST = 2000


def host_name(host: str) -> str:
    """The name in a ``Host`` header, without its port: ``localhost``, ``[::1]``; empty when it is not one."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
        name = parts.hostname or ""
    except ValueError:
        return ""
    if parts.netloc != host or "@" in host:
        return ""
    return f"[{name}]" if ":" in name else name.rstrip(".")


def is_allowed_host(host: str, allowed: Sequence[str], public_url: str = "") -> bool:
    """Whether the ``Host`` header is one of the allowed names, which may be ``*`` or ``*.example.com``."""
    name = host_name(host)
    own = urlsplit(public_url).hostname
    patterns = [*(pattern.lower().rstrip(".") for pattern in allowed), *([own] if own else [])]
    return bool(name) and any(_fits(name, pattern) for pattern in patterns)


def is_same_site(*, origin: str | None, referer: str | None, host: str, public_url: str = "") -> bool:
    """Whether a form was sent from a page of ours: its Origin, else its Referer, names this host."""
    sender = urlsplit(origin or referer or "").netloc.lower()
    return bool(sender) and sender in {host.lower(), urlsplit(public_url).netloc.lower()}


def local_path(target: str) -> str:
    """The path to go on to, with its query; ``/`` when it is missing or would lead elsewhere."""
    plain = target.startswith("/") and not target.startswith("//") and "\\" not in target
    if not plain or len(target) > _LONGEST or not target.isprintable():
        return "/"
    return "/" if urlsplit(target).path in {"/sign-in", "/setup", "/sign-out"} else target


def _fits(name: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return name.endswith(pattern[1:])
    return pattern in {"*", name}
