"""Text of people and graphs, made fit for where Streamlit takes Markdown."""

import re

_OWN = "\\`*_[]<>$:#|~"
# Streamlit also makes links of what merely looks like one, and there no backslash helps: so a word joiner, which
# cannot be seen, parts it in two.
_LINK = re.compile(r"(?<=www)(?=\.)|(?<=:)(?=//)|(?<=@)(?=[\w-])", re.IGNORECASE)
_JOINER = "\u2060"


def plain(text: str) -> str:
    """The text without what Markdown would take for its own, or for a link."""
    return "".join(f"\\{char}" if char in _OWN else char for char in _LINK.sub(_JOINER, text))


def shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
