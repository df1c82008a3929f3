"""Numbers as people read them: with their unit, thousands apart, and never a 0 for what is not known.

Pure functions; nothing here draws.
"""

import math

_UNKNOWN = "–"
_SIZES = ((1e9, "GB"), (1e6, "MB"), (1e3, "KB"))


def count(number: float | None) -> str:
    """1,234 and 12.3 M: whole up to a million, then with one word."""
    if number is None:
        return _UNKNOWN
    if abs(number) < 1_000_000:
        return f"{number:,.0f}"
    for size, word in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if abs(number) >= size:
            return f"{number / size:,.2f} {word}"
    return f"{number:,.0f}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """1 call, 2 calls."""
    return f"{count(number)} {noun if number == 1 else plural or noun + 's'}"


def dollars(usd: float) -> str:
    """US dollars with as many places as the size asks for: $1,234, $12.34, $0.0123, $0.000045."""
    size = abs(usd)
    if size >= 1_000:
        return f"${usd:,.0f}"
    if size >= 1 or size == 0:
        return f"${usd:,.2f}"
    if size < 0.000001:
        return "under $0.000001"
    whole, _, places = f"{usd:.4f}".partition(".") if size >= 0.01 else f"{usd:.6f}".partition(".")
    return f"${whole}.{places.rstrip('0').ljust(2, '0')}"


def total_cost(usd: float, *, calls: int, unpriced: int) -> str:
    """What calls cost together; says so where some of them have no price, and where nothing was to pay."""
    if not calls:
        return dollars(0)
    if unpriced >= calls:
        return "unpriced"
    if unpriced:
        return f"at least {dollars(usd)}"
    return dollars(usd) if usd else "free"


_UNCHARGED = {"free": "free", "cache": "from a cache"}


def call_cost(usd: float | None, source: str | None) -> str:
    """What one call cost; what has no price is never shown as nothing."""
    if source in _UNCHARGED:
        return _UNCHARGED[source]
    return "unpriced" if usd is None else dollars(usd)


def share(part: float, whole: float) -> str:
    """A percentage; a whole of nothing has none."""
    if not whole:
        return _UNKNOWN
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "under 0.1%"
    if 99.9 < percent < 100:
        return "over 99.9%"
    return f"{percent:.1f}%" if percent % 1 else f"{percent:.0f}%"


def milliseconds(ms: float | None) -> str:
    """A time with its unit: 340 ms, 2.1 s, 3 min 5 s."""
    if ms is None or math.isnan(ms):
        return _UNKNOWN
    if ms < 1_000:
        return f"{ms:,.0f} ms"
    if ms < 59_950:
        return f"{ms / 1_000:.1f} s"
    minutes, seconds = divmod(round(ms / 1_000), 60)
    return f"{minutes:,} min {seconds} s"


def size(number: int) -> str:
    """An amount of data with its unit: 12 bytes, 3.4 KB, 5.6 MB, 7.8 GB."""
    if number < 1_000:
        return counted(number, "byte")
    least, unit = next((least, unit) for least, unit in _SIZES if number >= least)
    return f"{number / least:,.1f} {unit}"


def change(now: float | None, before: float | None) -> str | None:
    """How much more or less than in the window before, in percent; None for no change, or none to speak of."""
    if now is None or not before:
        return None
    percent = 100 * (now - before) / before
    if abs(percent) < 0.05:
        return None
    return f"{percent:+,.1f}%" if abs(percent) < 1_000 else f"{now / before:,.0f}×"
