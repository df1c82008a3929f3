"""Your account: change the password, see where you are signed in, and sign out."""

import streamlit as st

from core.access import accounts, passwords, sign_in
from core.access.viewer import Viewer
from core.errors import BadInputError
from core.skein import Skein
from pages.parts.ui import state
from pages.parts.ui.browsers import browser_name
from pages.parts.ui.guard import require_viewer
from pages.parts.ui.resources import get_skein
from pages.parts.ui.text import plain, plain_lines


def main() -> None:
    viewer = require_viewer()
    skein = get_skein()
    st.title("Your account")
    st.caption(f"{plain(viewer.name)} · {viewer.role}")
    _draw_password(viewer, skein)
    _draw_logins(viewer, skein)


def _draw_password(viewer: Viewer, skein: Skein) -> None:
    st.subheader("Password")
    with st.form("account.password", width=480):
        st.text_input("Current password", type="password", key="account.old", autocomplete="current-password")
        st.text_input(
            "New password",
            type="password",
            key="account.new",
            autocomplete="new-password",
            help=f"At least {passwords.SHORTEST} characters.",
        )
        st.text_input("New password again", type="password", key="account.again", autocomplete="new-password")
        st.form_submit_button(
            "Change password", key="account.change", type="primary", on_click=_change_password, args=(viewer, skein)
        )
        if problem := state.take(state.ACCOUNT_PROBLEM):
            st.error(plain_lines(problem))
        if notice := state.take(state.ACCOUNT_NOTICE):
            st.success(plain_lines(notice))


def _change_password(viewer: Viewer, skein: Skein) -> None:
    old, new, again = (state.get(f"account.{name}") or "" for name in ("old", "new", "again"))
    with state.problems(state.ACCOUNT_PROBLEM):
        if new != again:
            raise BadInputError("The two new passwords differ; please type the same one twice.")
        accounts.change_password(viewer, skein.database, old=old, new=new)
        state.put(state.ACCOUNT_NOTICE, "The password is changed, and you are signed out everywhere else.")


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
        st.button(
            "Sign out",
            key="account.sign_out",
            icon=":material/logout:",
            on_click=sign_in.sign_out,
            args=(viewer, skein.database),
        )
        st.button(
            "Sign out everywhere",
            key="account.sign_out_everywhere",
            on_click=sign_in.sign_out_everywhere,
            args=(viewer, skein.database),
        )


main()
