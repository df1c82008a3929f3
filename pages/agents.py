"""Agents: who can answer here, as ``langgraph.json`` names them; ``?agent=`` shows one with all that it has.

What could not be loaded is listed like the others, with the reason; above them stands what a file as a whole asks
for and does not get.
"""

import pandas as pd
import streamlit as st

from core.access.viewer import Viewer
from core.agents.limits import Limits
from core.agents.registry import Agent
from core.errors import SkeinError
from core.history.rules import ANY, RuleRow, list_rules
from core.skein import Skein
from pages.parts.agents.agent_trial import draw_trial
from pages.parts.chat.agent_options import choose_agent, describe_broken, settings_of
from pages.parts.forms.argument_table import argument_rows
from pages.parts.graph.graph_picture import draw_graph
from pages.parts.ui.format import counted
from pages.parts.ui.guard import require_viewer
from pages.parts.ui.page_paths import APPROVALS, CHAT
from pages.parts.ui.resources import get_skein
from pages.parts.ui.text import plain, plain_lines, shortened

viewer = require_viewer()

_LONGEST, _MOST_RULES = 600, 20
_COLORS = {"allow": "green", "ask": "yellow", "deny": "red"}


def main(skein: Skein, viewer: Viewer) -> None:
    wanted = st.query_params.get("agent")
    agents = {agent.agent_id: agent for agent in skein.agents.list()}
    if wanted in agents:
        _draw_one(skein, viewer, agents[wanted])
        return
    st.markdown("### Agents")
    st.caption("Who can answer in a chat, as `langgraph.json` names them.")
    if wanted is not None:
        st.warning(
            plain(f"There is no agent named {shortened(wanted, 80)!r}; these are all."), icon=":material/info:"
        )
    for problem in skein.agents.problems:
        st.warning(plain_lines(shortened(problem, _LONGEST)), icon=":material/info:")
    for file, process in skein.processes.items():
        st.caption(plain(shortened(f"{file.parent.name}/{file.name} {process.standing.describe()}", _LONGEST)))
    for agent in agents.values():
        _draw_card(agent)
    if not agents:
        st.info("`langgraph.json` names no agent yet.", icon=":material/smart_toy:")


def _draw_card(agent: Agent) -> None:
    with st.container(border=True, key=f"agents_card_{agent.agent_id}"):
        _draw_about(agent)
        with st.container(horizontal=True):
            _draw_chat_button(agent)
            st.button(
                "Details",
                icon=":material/info:",
                key=f"agents.open.{agent.agent_id}",
                type="tertiary",
                on_click=_show,
                args=(agent.agent_id,),
            )


def _draw_about(agent: Agent) -> None:
    version = f" :gray-badge[version {plain(agent.version)}]" if agent.version else ""
    st.markdown(f"**{plain(shortened(agent.agent_id, 80))}**{version}")
    if agent.origin:
        st.caption(f"Named in {plain(shortened(agent.origin, 120))}.")
    if agent.description:
        st.markdown(plain_lines(shortened(agent.description, _LONGEST)))
    if agent.graph is None:
        st.markdown(describe_broken(agent))


def _draw_chat_button(agent: Agent) -> None:
    st.button(
        "Chat with it",
        icon=":material/forum:",
        key=f"agents.chat.{agent.agent_id}",
        disabled=agent.graph is None,
        help="A new conversation with this agent",
        on_click=_chat,
        args=(agent.agent_id,),
    )


def _chat(agent_id: str) -> None:
    choose_agent(agent_id)
    st.switch_page(CHAT)


def _show(agent_id: str | None) -> None:
    if agent_id is None:
        st.query_params.pop("agent", None)
    else:
        st.query_params["agent"] = agent_id


def _draw_one(skein: Skein, viewer: Viewer, agent: Agent) -> None:
    st.button(
        "All agents", icon=":material/arrow_back:", key="agents.all", type="tertiary", on_click=_show, args=(None,)
    )
    _draw_about(agent)
    if agent.graph is None:
        st.caption("It is loaded anew when the app is started again; the others are not touched by this.")
        return
    _draw_chat_button(agent)
    try:
        _draw_parts(skein, viewer, agent)
    except SkeinError as error:
        st.warning(plain_lines(str(error)), icon=":material/info:")


def _draw_parts(skein: Skein, viewer: Viewer, agent: Agent) -> None:
    st.markdown("##### Graph")
    draw_graph(skein.agents.compiled(agent.agent_id, skein.saver), working=set(), done=set(), key="agents.picture")
    st.markdown("##### Settings")
    if schema := settings_of(skein, agent.agent_id):
        _draw_table(argument_rows(schema))
    else:
        st.caption(
            "It has none of its own." if not agent.takes else "It has none beside the model and the temperature."
        )
    st.caption(describe_limits(skein.agents.limits(agent.agent_id, {})))
    st.markdown("##### Tools")
    _draw_tools(skein, viewer, agent)
    if viewer.is_admin:
        st.markdown("##### Trial")
        draw_trial(skein, viewer, agent.agent_id)


def describe_limits(limits: Limits) -> str:
    """How far a run may go when nothing else is chosen."""
    seconds = f"{limits.node_timeout:g} s for each node" if limits.node_timeout is not None else "no time limit"
    attempts = f"{counted(limits.attempts, 'attempt')} of each node"
    return f"Limits: at most {counted(limits.recursion_limit, 'step')} · {seconds} · {attempts}."


def _draw_tools(skein: Skein, viewer: Viewer, agent: Agent) -> None:
    tools = skein.agents.tools(agent.agent_id)
    with skein.database.read() as db:
        rules = [rule for rule in list_rules(viewer, db) if rule.agent_id in {ANY, agent.agent_id}]
    if not tools:
        st.caption("It has no tools that can be seen in its graph.")
    for name, schema in tools.items():
        with st.container(border=True, key=f"agents_tool_{name}"):
            st.markdown(f":material/build: **{plain(shortened(name, 120))}**")
            if isinstance(said := schema.get("description"), str):
                st.markdown(plain_lines(shortened(said, _LONGEST)))
            _draw_rules([rule for rule in rules if rule.tool in {ANY, name}])
            if rows := argument_rows(schema):
                _draw_table(rows)
            else:
                st.caption("It takes no arguments.")
    if tools:
        st.page_link(APPROVALS, label="Rules about tools", icon=":material/rule:", query_params={"tab": "rules"})


def _draw_rules(rules: list[RuleRow]) -> None:
    """The rules that say what happens when the tool is to be called; deny wins over ask, and ask over allow."""
    order = list(_COLORS)[::-1]
    for rule in sorted(rules, key=lambda rule: order.index(rule.effect))[:_MOST_RULES]:
        st.markdown(describe_rule(rule))
    if len(rules) > _MOST_RULES:
        st.caption(f"… and {counted(len(rules) - _MOST_RULES, 'more rule')}.")


def describe_rule(rule: RuleRow) -> str:
    """A rule in a line: what it does, for whom, who made it, how often it decided."""
    whom = {
        "everyone": "for everyone",
        "user": f"for {rule.created_by_name}",
        "session": "in one session",
    }[rule.scope]
    about = "all tools" if rule.tool == ANY else "this tool"
    used = f"used {counted(rule.uses, 'time')}" if rule.uses else "not used yet"
    said = plain(f"{about}, {whom}, by {rule.created_by_name}, {used}")
    return f":{_COLORS[rule.effect]}-badge[{rule.effect}] :small[{said}]"


def _draw_table(rows: list[dict[str, str]]) -> None:
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        width="stretch",
        row_height=None,
        column_config={"Description": st.column_config.TextColumn(width="large")},
    )


main(get_skein(), viewer)
