"""Your account: change the password, see where you are signed in, and sign out."""

import streamlit as st

from core.access import accounts, passwords, sign_in
from core.access.viewer import Viewer
from core.errors import SkeinError
from core.skein import Skein
from pages.parts.browsers import browser_name
from pages.parts.guard import require_viewer
from pages.parts.resources import get_skein
from pages.parts.text import plain


def main() -> None:
    viewer = require_viewer()
    skein = get_skein()
    st.title("Your account")
    st.caption(f"{viewer.name} · {viewer.role}")
    _draw_password(viewer, skein)
    _draw_logins(viewer, skein)


def _draw_password(viewer: Viewer, skein: Skein) -> None:
    st.subheader("Password")
    with st.form("account.password", width=480):
        old = st.text_input("Current password", type="password", key="account.old", autocomplete="current-password")
        new = st.text_input(
            "New password",
            type="password",
            key="account.new",
            autocomplete="new-password",
            help=f"At least {passwords.SHORTEST} characters.",
        )
        again = st.text_input(
            "New password again", type="password", key="account.again", autocomplete="new-password"
        )
        if st.form_submit_button("Change password", key="account.change", type="primary"):
            _change_password(viewer, skein, old=old, new=new, again=again)


def _change_password(viewer: Viewer, skein: Skein, *, old: str, new: str, again: str) -> None:
    if new != again:
        st.error("The two new passwords differ; please type the same one twice.")
        return
    try:
        accounts.change_password(viewer, skein.database, old=old, new=new)
    except SkeinError as error:
        st.error(plain(str(error)))
    else:
        st.success("The password is changed, and you are signed out everywhere else.")


def _draw_logins(viewer: Viewer, skein: Skein) -> None:
    st.subheader("Where you are signed in")
    logins = sign_in.list_logins(viewer, skein.database)
    st.dataframe(
        [
            {
                "Since": login.created_at,
                "Browser": browser_name(login.browser),
                "Address": login.address,
                "Here": login.is_current,
            }
            for login in logins
        ],
        hide_index=True,
        column_config={"Since": st.column_config.DatetimeColumn(format="localized")},
        key="account.logins",
    )
    with st.container(horizontal=True):
        here = st.button("Sign out", key="account.sign_out", icon=":material/logout:")
        everywhere = st.button("Sign out everywhere", key="account.sign_out_everywhere")
    if here:
        sign_in.sign_out(viewer, skein.database)
    if everywhere:
        sign_in.sign_out_everywhere(viewer, skein.database)
    if here or everywhere:
        st.rerun()


main()
