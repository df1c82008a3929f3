"""Text of people and graphs, made fit for where Streamlit takes Markdown."""

_OWN = "\\`*_[]<>$:#|~"


def plain(text: str) -> str:
    """The text without what Markdown would take for its own."""
    return "".join(f"\\{char}" if char in _OWN else char for char in text)


def shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
