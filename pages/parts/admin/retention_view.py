"""Retention rules drawn: the table of them, and a form with a preview, for a new one or one that is there.

Invariant: what a button does is what the fields show at that moment; nothing is run that was not previewed so.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import streamlit as st

from core.access.viewer import Viewer
from core.errors import BadInputError
from core.ids import RetentionId
from core.records import retention
from core.records.retention import Rule, RuleRow, Touched
from core.skein import Skein
from pages.parts.ui import state
from pages.parts.ui.text import plain_lines

ACTIONS = {
    "archive": "Archive them",
    "delete": "Delete them",
    "forget_texts": "Forget what models saw and said in them",
}
STATUSES = {"": "any", "active": "active ones", "archived": "archived ones"}
NEW = "new"
_FIELDS = ("name", "days", "action", "status", "tag", "keep_tag", "enabled")


def draw_rules(skein: Skein, viewer: Viewer) -> None:
    """The rules, and the form of the one that is chosen."""
    if notice := state.take(state.RETENTION_NOTICE):
        st.success(plain_lines(notice))
    if problem := state.take(state.RETENTION_PROBLEM):
        st.error(plain_lines(problem))
    with skein.database.read() as db:
        rows = retention.list_rules(viewer, db)
    _draw_table(rows)
    known = {str(row.retention_id): row for row in rows}
    chosen = st.selectbox(
        "Rule",
        [NEW, *known],
        format_func=lambda key: known[key].rule.name if key in known else "A new rule",
        key="retention.chosen",
    )
    rule = _draw_fields(chosen, known[chosen].rule if chosen in known else Rule("", "archive", 90))
    _draw_buttons(skein, viewer, chosen, rule)


def _draw_table(rows: Sequence[RuleRow]) -> None:
    if not rows:
        st.info(
            "There is no rule yet, so everything is kept until somebody deletes it.", icon=":material/all_inbox:"
        )
        return
    st.dataframe(
        rule_lines(rows),
        hide_index=True,
        column_config={"Last run": st.column_config.DatetimeColumn(format="localized")},
        placeholder="–",
        key="retention.table",
    )


def rule_lines(rows: Sequence[RuleRow]) -> list[dict[str, Any]]:
    """One line of the table for each rule."""
    return [
        {
            "Name": row.rule.name,
            "On": row.rule.enabled,
            "Unused for": f"{row.rule.days:,} days",
            "Sessions": STATUSES[row.rule.status] + (f" tagged {row.rule.tag}" if row.rule.tag else ""),
            "But those tagged": row.rule.keep_tag or None,
            "Then": ACTIONS[row.rule.action],
            "Last run": row.last_run_at,
            "Done then": row.last_count if row.last_run_at else None,
            "Made by": row.created_by_name,
        }
        for row in rows
    ]


def _key(chosen: str, name: str) -> str:
    return f"{state.RETENTION_WIDGET}{chosen}.{name}"


def _read_fields(chosen: str) -> Rule:
    """What the fields of a rule show."""
    name, days, action, status, tag, keep_tag, enabled = (state.get(_key(chosen, field)) for field in _FIELDS)
    return Rule(name or "", action, int(days or 1), status or "", tag or "", keep_tag or "", bool(enabled))


def _draw_fields(chosen: str, rule: Rule) -> Rule:
    """The fields of one rule, each rule's own; gives what they show."""
    key = partial(_key, chosen)
    left, right = st.columns(2)
    with left:
        st.text_input("Name", rule.name, key=key("name"), max_chars=retention.LONGEST_NAME)
        st.number_input("Unused for so many days", 1, retention.MOST_DAYS, rule.days, key=key("days"), step=1)
        actions = list(ACTIONS)
        st.selectbox(
            "What becomes of them",
            actions,
            index=actions.index(rule.action),
            format_func=ACTIONS.__getitem__,
            key=key("action"),
        )
    with right:
        statuses = list(STATUSES)
        st.selectbox(
            "Only",
            statuses,
            index=statuses.index(rule.status),
            format_func=STATUSES.__getitem__,
            key=key("status"),
        )
        st.text_input("Only those with the tag", rule.tag, key=key("tag"), placeholder="Any")
        st.text_input(
            "But not where anything has the tag", rule.keep_tag, key=key("keep_tag"), placeholder="None is spared"
        )
    st.toggle("On: run it once a day", rule.enabled, key=key("enabled"))
    return _read_fields(chosen)


def _draw_buttons(skein: Skein, viewer: Viewer, chosen: str, rule: Rule) -> None:
    with st.container(horizontal=True):
        st.button(
            "Preview",
            key="retention.preview",
            icon=":material/visibility:",
            on_click=_preview,
            args=(skein, viewer, chosen),
        )
        st.button(
            "Save",
            key="retention.save",
            type="primary",
            icon=":material/save:",
            on_click=_save,
            args=(skein, viewer, chosen),
        )
        if chosen != NEW:
            st.button(
                "Delete rule",
                key="retention.delete",
                icon=":material/delete:",
                on_click=_delete,
                args=(skein, viewer, RetentionId(chosen), rule),
            )
    if refused := state.take(state.RETENTION_REFUSED):
        st.error(plain_lines(refused))
    seen = state.get(state.RETENTION_SEEN)
    if not seen or seen[:2] != (chosen, _terms(rule)):
        return
    st.markdown(seen[2])
    if chosen != NEW:
        st.button(
            "Run it now",
            key="retention.run",
            icon=":material/play_arrow:",
            on_click=_run,
            args=(skein, viewer, RetentionId(chosen)),
        )


def _terms(rule: Rule) -> tuple[Any, ...]:
    return rule.action, rule.days, rule.status, rule.tag, rule.keep_tag


def say_touched(rule: Rule, touched: Touched) -> str:
    """What a rule would touch, as a sentence."""
    if not touched.sessions:
        return "Run now, it would touch **nothing**."
    texts = f" and the texts of **{touched.texts:,}** calls" if rule.action != "archive" else ""
    what = {"archive": "archive", "delete": "delete", "forget_texts": "forget what models saw and said in"}
    amount = f"**{touched.sessions:,}** sessions with **{touched.messages:,}** messages{texts}"
    return f"Run now, it would {what[rule.action]} {amount}."


def _preview(skein: Skein, viewer: Viewer, chosen: str) -> None:
    rule = _read_fields(chosen)
    with state.problems(state.RETENTION_REFUSED):
        # A rule is previewed before anybody has thought of a name.
        touched = retention.preview(viewer, skein.database, Rule(rule.name or "new", *_terms(rule)))
        state.put(state.RETENTION_SEEN, (chosen, _terms(rule), say_touched(rule, touched)))


def _save(skein: Skein, viewer: Viewer, chosen: str) -> None:
    rule = _read_fields(chosen)
    with state.problems(state.RETENTION_REFUSED):
        if chosen == NEW:
            skein.database.write(lambda db: retention.add_rule(viewer, db, rule))
        else:
            skein.database.write(lambda db: retention.change_rule(viewer, db, RetentionId(chosen), rule))
        state.put(state.RETENTION_NOTICE, f"{rule.name.strip()} is saved, and {'on' if rule.enabled else 'off'}.")


def _delete(skein: Skein, viewer: Viewer, retention_id: RetentionId, rule: Rule) -> None:
    with state.problems(state.RETENTION_PROBLEM):
        skein.database.write(lambda db: retention.delete_rule(viewer, db, retention_id))
        state.put(state.RETENTION_NOTICE, f"The rule {rule.name} is deleted; what it did stays done.")


def _run(skein: Skein, viewer: Viewer, retention_id: RetentionId) -> None:
    """Run what was previewed: a rule whose fields were changed since must be saved first."""
    rule = _read_fields(retention_id)
    with state.problems(state.RETENTION_PROBLEM):
        with skein.database.read() as db:
            kept = retention.get_rule(viewer, db, retention_id).rule
        if _terms(kept) != _terms(rule):
            raise BadInputError("The fields say something else than what is saved; please save the rule first.")
        count = retention.run_rule(viewer, skein.database, retention_id)
        state.put(state.RETENTION_NOTICE, f"{count:,} sessions are done.")
        state.take(state.RETENTION_SEEN)
