"""Hosts and addresses: which names this server answers to, whose page asks, who connects, where a browser is sent.

Invariants: a redirect never leaves this site, whatever was typed into ``next``; a page of another site, or of
another port, is no page of ours; only a proxy that is trusted says who connects.
"""

import ipaddress
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LONGEST = 2000
_PORTS = {"http": 80, "https": 443}


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


def is_same_site(
    *, origin: str | None, referer: str | None, host: str, scheme: str = "", public_url: str = ""
) -> bool:
    """Whether a form was sent from a page of ours, by its Origin, else by its Referer; see ``is_own_origin``."""
    return is_own_origin(origin or referer or "", host=host, scheme=scheme, public_url=public_url)


def is_own_origin(origin: str, *, host: str, scheme: str = "", public_url: str = "") -> bool:
    """Whether an Origin (or a Referer) is this very server, name and port: as in ``Host``, or as people use it.

    ``scheme`` is that of the request, where it is known for sure; it says the port where ``Host`` names none.
    """
    asking, public = _split(origin), _split(public_url)
    if asking is None:
        return False
    if public is not None and _place(asking) == _place(public):
        return True
    here = _split(f"{scheme or asking.scheme}://{host}")
    return here is not None and _place(asking) == _place(here) and scheme in {"", asking.scheme}


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    is_whole = parts.scheme in _PORTS and parts.hostname and "@" not in parts.netloc
    return parts if is_whole else None


def _place(parts: SplitResult) -> tuple[str, int]:
    return (parts.hostname or "").rstrip("."), parts.port or _PORTS[parts.scheme]


def read_networks(trusted: Sequence[str]) -> list[Network]:
    """Addresses and networks; ValueError when one of them is neither."""
    return [ipaddress.ip_network(one, strict=False) for one in trusted]


def client_address(connected: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """Who connects: of the addresses in ``X-Forwarded-For`` and the connection's own the last that is no proxy's.

    Each proxy adds to the end of the header whom it heard, so that what a visitor wrote there comes before it.
    """
    address = _read_address(connected)
    if address is None:
        return connected
    for name in reversed(",".join(forwarded).split(",")):
        named = _read_address(name.strip())
        if named is None or not any(address in network for network in trusted):
            break
        address = named
    return str(address)


def _read_address(text: str) -> Address | None:
    """An address, perhaps with a port; an IPv4 address that is written as one of IPv6 is that IPv4 address."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


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
