"""Retention: rules for what becomes of sessions that nobody uses any more, each with a preview."""

import streamlit as st

from pages.parts.admin.retention_view import draw_rules
from pages.parts.ui.guard import require_admin
from pages.parts.ui.resources import get_skein


def main() -> None:
    viewer = require_admin()
    st.title("Retention")
    st.caption(
        "Rules for sessions that nobody has used for some time. Each is run once a day while it is on; what it "
        "does stands in the record of activity. Sessions that are at work, or wait for a person, are never touched."
    )
    draw_rules(get_skein(), viewer)


main()
