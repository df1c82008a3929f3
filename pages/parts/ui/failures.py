"""What a page says of an error that nothing in it has answered: one sentence, and the way on."""

import secrets

import streamlit as st
import structlog

from core.outages import explain
from pages.parts.ui.text import plain

log = structlog.get_logger("skein.pages")


def show_failure(error: Exception) -> bool:
    """Draw it where the page has come to; for Streamlit, which then draws nothing of its own.

    A failure that nobody foresaw tells no more than its reference, under which the log has the rest.
    """
    if (explained := explain(error)) is not None:
        st.error(plain(str(explained)), icon=":material/error:")
        return True
    reference = secrets.token_hex(4)
    log.error("page_failed", reference=reference, error=type(error).__name__, exc_info=error)
    st.error(
        f"Something went wrong here. Please reload; Skein's operator finds it in the log as {reference}.",
        icon=":material/error:",
    )
    return True
