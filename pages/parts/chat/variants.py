"""Choosing several models, temperatures or agents that are to answer the same message side by side."""

from collections.abc import Sequence
from itertools import product

import streamlit as st

from core.runs.branching import MOST_VARIANTS, Variant
from core.skein import Skein
from pages.parts.ui import state
from pages.parts.ui.text import plain

_FIELDS = ("models", "temperatures", "agents")
TEMPERATURES = (0.0, 0.2, 0.5, 0.7, 1.0, 1.3)


def draw_variants(skein: Skein, *, key: str) -> None:
    """The fields in which they are chosen; ``chosen_variants`` of the same key says what was."""
    labels = {model.name: model.label for model in skein.chat_models.offered()}
    st.multiselect(
        "Models",
        list(labels),
        key=_key_of(key, "models"),
        format_func=lambda name: labels.get(name, name),
        accept_new_options=True,
        placeholder="Choose, or type a name",
        max_selections=MOST_VARIANTS,
        persist_state="session",
    )
    st.multiselect(
        "Temperatures",
        TEMPERATURES,
        key=_key_of(key, "temperatures"),
        placeholder="As set",
        persist_state="session",
    )
    names = [agent.agent_id for agent in skein.agents.list() if agent.graph is not None]
    if len(names) > 1:
        st.multiselect(
            "Agents", names, key=_key_of(key, "agents"), placeholder="As chosen", persist_state="session"
        )
    count = len(chosen_variants(key))
    if count > MOST_VARIANTS:
        st.caption(f":red[{count} answers are too many at once; choose at most {MOST_VARIANTS}.]")
    elif count:
        st.caption(f"{count} answers side by side.")


def chosen_variants(key: str) -> dict[str, Variant]:
    """What is chosen, by a name that tells them apart; nothing while it is less than two."""
    models, temperatures, agents = (state.get(_key_of(key, field)) or [] for field in _FIELDS)
    variants = to_variants(models, temperatures, agents)
    return variants if len(variants) > 1 else {}


def forget_variants(key: str) -> None:
    """Choose none any more; before the fields are drawn, or in a callback.

    Streamlit keeps the value of a field that is not drawn, and would put it back over a new one when a run of the
    page is cut short: so new fields begin in place of the old ones.
    """
    if any(state.get(_key_of(key, field)) for field in _FIELDS):
        state.put(f"{key}.round", _round(key) + 1)


def _key_of(key: str, field: str) -> str:
    return f"{key}.{field}.{_round(key)}" if _round(key) else f"{key}.{field}"


def _round(key: str) -> int:
    return state.get(f"{key}.round") or 0


def draw_chosen(key: str) -> None:
    """A line that says whom the next message goes to, when that is more than one."""
    variants = chosen_variants(key)
    if not variants:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        names = ", ".join(plain(name) for name in variants)
        st.caption(f":material/splitscreen_right: The next message goes to {names}", width="content")
        st.button("Only to one", key=f"{key}.forget", type="tertiary", on_click=forget_variants, args=(key,))


def to_variants(models: Sequence[str], temperatures: Sequence[float], agents: Sequence[str]) -> dict[str, Variant]:
    """Each with each of what is chosen, named by what sets it apart from the others."""
    found: dict[str, Variant] = {}
    for agent, model, temperature in product(agents or [None], models or [None], temperatures or [None]):
        parts = (
            agent if len(agents) > 1 else None,
            model if len(models) > 1 or not (len(agents) > 1 or len(temperatures) > 1) else None,
            f"{temperature:g}" if temperature is not None and len(temperatures) > 1 else None,
        )
        name = " · ".join(part for part in parts if part)
        found[name] = Variant(agent, model, temperature)
    return found
