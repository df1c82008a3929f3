"""Who is to answer the next message, with which settings and within which limits, chosen in the chat's options.

Invariant: a conversation goes on with the agent that answered last until another is chosen there; what was chosen
for an agent is remembered for that agent alone. Only what differs from the usual goes along with a message.
"""

from typing import Any

import streamlit as st

from core.agents.context import CHOSEN_IN_SKEIN, SETTINGS
from core.agents.limits import LIMITS, LONGEST_TIMEOUT, MOST_ATTEMPTS, MOST_STEPS, Limits
from core.agents.registry import Agent
from core.errors import BadInputError, SkeinError
from core.skein import Skein
from pages.parts.forms.schema_form import draw_fields
from pages.parts.ui import state
from pages.parts.ui.open_branch import Opened
from pages.parts.ui.text import plain, plain_lines, shortened

_LONGEST = 300


def choose_agent(agent_id: str) -> None:
    """Let this agent answer in the next new conversation."""
    state.put(_agent_key(None), agent_id)


def forget_choice() -> None:
    """Let the next new conversation begin with the usual agent again; in a callback."""
    state.take(_agent_key(None))


def chosen_agent(skein: Skein, opened: Opened) -> str:
    """Who answers the next message here."""
    usable = [agent.agent_id for agent in skein.agents.list() if agent.graph is not None]
    chosen = state.get(_agent_key(opened))
    last = opened.head.agent_id if opened.head else None
    return next((name for name in (chosen, last) if name in usable), None) or skein.agents.default


def chosen_config(agent_id: str) -> dict[str, Any]:
    """What was chosen for this agent; BadInputError says what of it cannot be used."""
    settings, limits = _kept(state.AGENT_SETTINGS, agent_id), _kept(state.AGENT_LIMITS, agent_id)
    if problems := [*settings[1], *limits[1]]:
        raise BadInputError(f"The settings of {agent_id!r} need a change: {problems[0]}")
    config = {name: value for name, value in settings[0].items() if name not in CHOSEN_IN_SKEIN}
    if named_alike := {name: value for name, value in settings[0].items() if name in CHOSEN_IN_SKEIN}:
        config[SETTINGS] = named_alike
    if limits[0]:
        config[LIMITS] = limits[0]
    return config


def draw_agents(skein: Skein, opened: Opened) -> str:
    """The agents to choose from, and who is chosen."""
    agents = {agent.agent_id: agent for agent in skein.agents.list()}
    usable = [name for name, agent in agents.items() if agent.graph is not None]
    broken = [agent for agent in agents.values() if agent.graph is None]
    agent_id = chosen_agent(skein, opened)
    if len(agents) > 1 and usable:
        key = _agent_key(opened)
        if state.get(key) not in usable:
            state.put(key, agent_id)
        agent_id = st.selectbox("Agent", usable, key=key, persist_state="session")
    if agent_id in usable:
        st.caption(plain(shortened(agents[agent_id].description, _LONGEST)))
    for agent in broken:
        st.caption(describe_broken(agent))
    return agent_id


def draw_agent_options(skein: Skein, agent_id: str) -> None:
    """What can be chosen for this agent; nothing when it is not there."""
    try:
        schema, usual = settings_of(skein, agent_id), skein.agents.limits(agent_id, {})
    except SkeinError as error:
        st.caption(plain(str(error)))
        return
    problems = [*_draw_settings(schema, agent_id), *_draw_limits(usual, agent_id)]
    if problems:
        st.warning(plain_lines(" ".join(problems)), icon=":material/info:")


def describe_broken(agent: Agent) -> str:
    """That an agent is not to be had, and why."""
    name, reason = plain(shortened(agent.agent_id, 80)), plain(shortened(agent.problem or "", _LONGEST))
    if agent.is_loading:
        return f":material/hourglass_top: **{name}** is still loading; it can be chosen in a moment."
    return f":orange[:material/error:] **{name}** is unavailable: {reason}"


def settings_of(skein: Skein, agent_id: str) -> dict[str, Any] | None:
    """The schema of what can be chosen for this agent alone; None when there is nothing."""
    return skein.agents.settings_schema(agent_id)


def limits_schema(usual: Limits) -> dict[str, Any]:
    """The limits as a form's schema, with the agent's usual ones as what is meant when nothing is chosen."""
    fields = {
        "recursion_limit": {
            "type": "integer",
            "title": "Most steps",
            "description": "LangGraph's recursion limit: a run that takes more steps ends with an error.",
            "minimum": 1,
            "maximum": MOST_STEPS,
        },
        "node_timeout": {
            "anyOf": [{"type": "number"}, {"type": "null"}],
            "title": "Seconds for each node",
            "description": "A node that takes longer is given up. Empty: as long as the agent usually gives it.",
            "exclusiveMinimum": 0,
            "maximum": LONGEST_TIMEOUT,
        },
        "attempts": {
            "type": "integer",
            "title": "Attempts of each node",
            "description": "How often a node is tried when what failed may pass: a lost connection, a busy server.",
            "minimum": 1,
            "maximum": MOST_ATTEMPTS,
        },
    }
    usually = usual.model_dump()
    return {"type": "object", "properties": {name: {**it, "default": usually[name]} for name, it in fields.items()}}


def _draw_settings(schema: dict[str, Any] | None, agent_id: str) -> list[str]:
    if schema is None:
        _keep(state.AGENT_SETTINGS, agent_id, {}, [])
        return []
    held, _ = _kept(state.AGENT_SETTINGS, agent_id)
    with st.expander("Settings", icon=":material/tune:"):
        filled = draw_fields(schema, key=f"{state.AGENT_WIDGET}{agent_id}", value=held)
    _keep(state.AGENT_SETTINGS, agent_id, filled.value or {}, filled.problems)
    return filled.problems


def _draw_limits(usual: Limits, agent_id: str) -> list[str]:
    held, _ = _kept(state.AGENT_LIMITS, agent_id)
    with st.expander("Limits", icon=":material/speed:"):
        filled = draw_fields(limits_schema(usual), key=f"{state.AGENT_WIDGET}{agent_id}.limits", value=held)
    usually = usual.model_dump()
    other = {name: value for name, value in (filled.value or {}).items() if value not in (None, usually.get(name))}
    _keep(state.AGENT_LIMITS, agent_id, other, filled.problems)
    return filled.problems


def _agent_key(opened: Opened | None) -> str:
    return f"{state.AGENT}{(opened.conversation_id if opened else None) or 'new'}"


def _kept(kind: str, agent_id: str) -> tuple[dict[str, Any], list[str]]:
    return state.get(f"{kind}{agent_id}") or ({}, [])


def _keep(kind: str, agent_id: str, chosen: dict[str, Any], problems: list[str]) -> None:
    state.put(f"{kind}{agent_id}", (chosen, problems))
