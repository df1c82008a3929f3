"""Where in the tree one is: the branches that the open one grew from, each a link, and the way to the tree."""

import streamlit as st

from pages.parts.ui.format import counted
from pages.parts.ui.open_branch import Opened, point_at
from pages.parts.ui.page_paths import BRANCHES
from pages.parts.ui.text import plain, shortened

_LONGEST = 28


def draw_crumbs(opened: Opened) -> None:
    """A line below the title; of a conversation with one branch only the way to the tree."""
    if opened.conversation is None or opened.branch is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="chat_crumbs"):
        st.page_link(
            BRANCHES,
            label="Branches",
            icon=":material/account_tree:",
            query_params={"conversation": opened.conversation.conversation_id, "branch": opened.branch.branch_id},
            help="The whole tree of this conversation",
        )
        for stretch in opened.stretches:
            if stretch.branch.branch_id == opened.branch.branch_id:
                continue
            # A button: a link to the page that is open changes what it shows, but not its address.
            st.button(
                plain(shortened(stretch.branch.name, _LONGEST)),
                key=f"chat.crumb.{stretch.branch.branch_id}",
                type="tertiary",
                help=f"Open this branch; here you see its first {counted(stretch.messages, 'message')}",
                on_click=point_at,
                args=(stretch.branch.conversation_id, stretch.branch.branch_id),
            )
            st.caption("›", width="content")
        if opened.stretches:
            st.markdown(f"**{plain(shortened(opened.branch.name, _LONGEST))}**", width="content")
