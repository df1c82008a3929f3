"""Accounts: an admin makes them, gives them roles, and disables or enables them."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.access import accounts, passwords
from core.access.accounts import Account
from core.access.viewer import Viewer
from core.errors import SkeinError
from core.records.erasure import erase_user, preview_erasure
from core.skein import Skein
from core.tables import ROLES
from pages.parts.ui import state
from pages.parts.ui.guard import require_admin
from pages.parts.ui.long_action import do_with_bar
from pages.parts.ui.resources import get_skein
from pages.parts.ui.text import plain, plain_lines


def main() -> None:
    viewer = require_admin()
    skein = get_skein()
    st.title("Accounts")
    st.caption("Members see their own work; analysts also read everybody's; admins also manage accounts.")
    if notice := state.take(state.NOTICE):
        st.success(plain_lines(notice))
    rows = accounts.list_accounts(viewer, skein.database)
    _draw_table(rows, viewer)
    change, create = st.columns(2, gap="large")
    with change:
        _draw_change(viewer, skein, rows)
    with create:
        _draw_create(viewer, skein)


def _draw_table(rows: list[Account], viewer: Viewer) -> None:
    st.dataframe(
        [
            {
                "Name": row.name,
                "Role": row.role,
                "State": _state_of(row, viewer),
                "Made": row.created_at,
            }
            for row in rows
        ],
        hide_index=True,
        column_config={"Made": st.column_config.DatetimeColumn(format="localized")},
        key="admin.accounts",
    )


def _state_of(row: Account, viewer: Viewer) -> str:
    if row.disabled_at:
        return "disabled"
    return "you" if row.user_id == viewer.user_id else "enabled"


def _draw_change(viewer: Viewer, skein: Skein, rows: list[Account]) -> None:
    st.subheader("Change an account")
    others = {row.user_id: row for row in rows if row.user_id != viewer.user_id}
    if not others:
        st.caption("There is no account but yours yet.")
        return
    user_id = st.selectbox("Account", list(others), format_func=lambda key: others[key].name, key="admin.account")
    chosen = others[user_id]
    role_key = f"admin.role.{user_id}"
    role = st.selectbox("Role", ROLES, index=ROLES.index(chosen.role), key=role_key)
    with st.container(horizontal=True):
        st.button(
            "Set role",
            key="admin.set_role",
            disabled=role == chosen.role,
            on_click=_set_role,
            args=(viewer, skein, chosen, role_key),
        )
        st.button(
            "Enable" if chosen.disabled_at else "Disable",
            key="admin.set_disabled",
            on_click=_set_disabled,
            args=(viewer, skein, chosen),
        )
    if problem := state.take(state.PROBLEM_WITH_ACCOUNT):
        st.error(plain_lines(problem))
    with st.expander(
        f"Erase {plain(chosen.name)}",
        icon=":material/person_remove:",
        key=f"admin.erasing.{user_id}",
        on_change="rerun",
    ) as fold:
        if fold.open:
            _draw_erase(viewer, skein, chosen)


def _draw_erase(viewer: Viewer, skein: Skein, chosen: Account) -> None:
    """What would go, and a button that works once the name is typed."""
    own = preview_erasure(viewer, skein.database, chosen.user_id)
    st.markdown(
        f"**{own.sessions:,}** sessions with **{own.messages:,}** messages, **{own.annotations:,}** annotations, "
        f"**{own.saved_views:,}** saved views, **{own.templates:,}** templates and the texts of "
        f"**{own.texts:,}** calls go for ever, with name and password. The record of what was done stays, and "
        "the measures of the calls, without any words."
    )
    typed = st.text_input("Type the name to erase it", key=f"{state.ERASE}{chosen.user_id}", autocomplete="off")
    bar = st.empty()
    st.button(
        "Erase for ever",
        key="admin.erase",
        disabled=typed != chosen.name,
        icon=":material/delete:",
        on_click=_erase,
        args=(viewer, skein, chosen, bar),
    )


def _erase(viewer: Viewer, skein: Skein, chosen: Account, bar: DeltaGenerator) -> None:
    with state.problems(state.PROBLEM_WITH_ACCOUNT):
        left = do_with_bar(
            bar,
            lambda report: erase_user(
                viewer, skein.database, skein.housekeeper.forget_thread, chosen.user_id, progress=report
            ),
            noun="session",
            begin="Erasing …",
        )
        rest = "" if left.is_nothing else " What still runs is being stopped, and goes in a minute."
        state.put(state.NOTICE, f"{chosen.name} is erased.{rest}")


def _set_role(viewer: Viewer, skein: Skein, chosen: Account, role_key: str) -> None:
    with state.problems(state.PROBLEM_WITH_ACCOUNT):
        role = state.get(role_key)
        accounts.set_role(viewer, skein.database, user_id=chosen.user_id, role=role)
        state.put(state.NOTICE, f"{chosen.name} is now {role}.")


def _set_disabled(viewer: Viewer, skein: Skein, chosen: Account) -> None:
    disabled = chosen.disabled_at is None
    with state.problems(state.PROBLEM_WITH_ACCOUNT):
        accounts.set_disabled(viewer, skein.database, user_id=chosen.user_id, disabled=disabled)
        done = "disabled and signed out everywhere" if disabled else "enabled"
        state.put(state.NOTICE, f"{chosen.name} is {done}.")


def _draw_create(viewer: Viewer, skein: Skein) -> None:
    st.subheader("New account")
    with st.form("admin.create"):
        st.text_input("Name", key=state.NEW_NAME, max_chars=64, autocomplete="off")
        st.text_input(
            "First password",
            type="password",
            key=state.NEW_PASSWORD,
            autocomplete="new-password",
            help=f"At least {passwords.SHORTEST} characters; they can change it on their account page.",
        )
        st.selectbox("Role", ROLES, key=state.NEW_ROLE)
        st.form_submit_button(
            "Create account", key="admin.create_account", type="primary", on_click=_create, args=(viewer, skein)
        )
        if problem := state.take(state.REFUSED):
            st.error(plain_lines(problem))


def _create(viewer: Viewer, skein: Skein) -> None:
    """Only before the rerun can the fields be emptied: after a success they are, else all typed stays."""
    name, password, role = state.get(state.NEW_NAME), state.get(state.NEW_PASSWORD), state.get(state.NEW_ROLE)
    try:
        account = accounts.create_account(viewer, skein.database, name=name, password=password, role=role)
    except SkeinError as error:
        state.put(state.REFUSED, str(error))
    else:
        state.put(state.NEW_NAME, "")
        state.put(state.NEW_PASSWORD, "")
        state.put(state.NOTICE, f"{account.name} can sign in now.")


main()
