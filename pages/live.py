"""Running now: the viewer's active runs, for an admin everybody's; each can be stopped from here."""

from functools import partial

import streamlit as st

from core.access.viewer import Viewer
from core.history.conversations import Heading, get_headings
from core.runs.run import ActiveRun
from core.skein import Skein
from pages.parts.chat.run_summary import ordinal
from pages.parts.ui import state
from pages.parts.ui.format import milliseconds
from pages.parts.ui.guard import require_viewer
from pages.parts.ui.page_paths import CHAT
from pages.parts.ui.resources import get_skein
from pages.parts.ui.text import plain, plain_lines
from pages.parts.ui.watch import draw_every

viewer = require_viewer()

_REFRESH_SECONDS = 1.0
_MOST_ROWS = 100


def main(skein: Skein, viewer: Viewer) -> None:
    st.markdown("### Running now")
    st.caption("Everybody's runs." if viewer.is_admin else "Your runs.")
    if problem := state.take(state.PROBLEM):
        st.warning(plain_lines(problem), icon=":material/info:")
    draw_every(_REFRESH_SECONDS, partial(_draw_runs, skein, viewer))


def _draw_runs(skein: Skein, viewer: Viewer) -> None:
    runs = sorted(skein.engine.active_everywhere(viewer), key=lambda run: (run.place or 0, run.thread_id))
    with skein.database.read() as db:
        headings = get_headings(viewer, db, {run.conversation_id for run in runs})
    if not runs:
        st.info(
            "Nothing is running. Ask something in a chat, and it will be listed here.", icon=":material/bedtime:"
        )
        return
    running = sum(run.place is None for run in runs)
    pace = sum(run.tokens_per_second for run in runs)
    st.caption(f"**{running:,}** running · **{len(runs) - running:,}** queued · **{pace:,.0f}** tokens/s together")
    for run in runs[:_MOST_ROWS]:
        _draw_run(skein, viewer, run, headings.get(run.conversation_id, Heading("Untitled", "?")))
    if len(runs) > _MOST_ROWS:
        st.caption(f"… and {len(runs) - _MOST_ROWS:,} more.")


def _draw_run(skein: Skein, viewer: Viewer, run: ActiveRun, heading: Heading) -> None:
    with st.container(border=True, key=f"live_{run.thread_id}"):
        owner = f"{plain(heading.user_name)} · " if viewer.is_admin else ""
        st.markdown(f"**{plain(heading.title)}**  \n:small[{owner}{plain(run.agent_id)} · {describe(run)}]")
        with st.container(horizontal=True, vertical_alignment="center"):
            st.page_link(
                CHAT, label="Open", icon=":material/open_in_new:", query_params={"message": run.message_id}
            )
            st.button(
                "Stop",
                icon=":material/stop:",
                key=f"live.stop.{run.thread_id}",
                help="Asks the process that runs it, which ends it within seconds" if run.is_elsewhere else None,
                on_click=partial(_stop, skein, viewer, run),
            )


def describe(run: ActiveRun) -> str:
    """What it is doing, since when, and how fast."""
    if run.place is not None:
        return f"queued, {ordinal(run.place)}" if run.place else "queued in another process"
    if run.is_elsewhere:
        return f"running in another process · {milliseconds(run.seconds * 1000)}"
    node = f"{plain(run.node)} at work" if run.node else "starting"
    pace = f"{run.tokens_per_second:,.0f} tokens/s"
    return f"{node} · {milliseconds(run.seconds * 1000)} · {run.tokens:,} tokens · {pace}"


def _stop(skein: Skein, viewer: Viewer, run: ActiveRun) -> None:
    with state.problems():
        skein.engine.stop(viewer, run.thread_id)


main(get_skein(), viewer)
