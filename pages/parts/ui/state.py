"""The one owner of session-state keys, each ``"<page>.<name>"``; only ids and small values go in."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import streamlit as st

from core.errors import SkeinError
from core.history.files import Attachment

DRAWN_FOR = "guard.drawn_for"  # the Viewer whose rights the page was drawn with
RIGHTS_CHANGED = "guard.rights_changed"  # whether something was not done because they are others now
UNSENT = "guard.unsent"  # what was sent from a chat input then
HELD_BACK = "chat.held_back"  # by conversation (None: a new one), what was typed and could not be sent yet
HELD_FILES = "chat.held_files"  # by conversation, what was attached to that; kept no longer than the browser's tab
FILE_PROBLEM = "chat.file_problem"  # (conversation, sentences) about the files that were sent last
DELETED = "chat.deleted"  # (conversation_id, title) of the last deletion, for the undo
REPLAY = "chat.replay"  # (thread_id, speed) of an answer to play again
PROBLEM = "chat.problem"  # one sentence about what just could not be done
MODEL = "chat.model"
TEMPERATURE = "chat.temperature"
AGENT_TRIAL = "agents.trial."  # before an agent's id: what its last trial in this tab has found
AGENT_PROBLEM = "agents.problem"  # one sentence about why it could not be tried
EARLIER = "chat.earlier"  # (branch, how many turns) of which earlier turns are shown than usual
EDITED = "chat.edited"  # the words that a question is to be asked in
TITLE = "chat.title"  # what a conversation is to be called
INPUT = "chat.input"
INPUT_WIDGET = "chat.input_widget."  # before an agent's id and what it stands below: a widget of its input's form
MORE_INPUTS = "chat.more_inputs."  # before an agent's id and a conversation's: (how often sent, what is filled in)
INPUT_REFUSED = "chat.input_refused"  # (the form's key, by widget what is wrong with what it holds)
EXAMPLE = "chat.example"  # what the welcome offers to say
SEARCH = "chat.search"
PAGES = "chat.pages"  # how many pages of the list are shown
AGENT = "chat.agent."  # before a conversation's id, or "new": who answers there next
AGENT_SETTINGS = "chat.agent_settings."  # before an agent's id: (what was chosen for it, what is wrong with that)
AGENT_LIMITS = "chat.agent_limits."  # likewise
AGENT_WIDGET = "chat.agent_widget."  # before an agent's id and a name: the widget of a setting
FAN = "chat.fan"  # before ".models", ".temperatures", ".agents", ".round": what the next message goes to at once
ACCOUNT_PROBLEM = "account.problem"  # one sentence about why the password could not be changed
ACCOUNT_NOTICE = "account.notice"  # one sentence about what was just done
DIALOG = "dialog.wanted"  # (name, what, address) of the dialog that is to be open
DIALOG_PROBLEM = "dialog.problem"  # one sentence about what could not be done in it
NOTICE = "admin.notice"  # one sentence about what was just done
REFUSED = "admin.refused"  # one sentence about why the new account could not be made
PROBLEM_WITH_ACCOUNT = "admin.problem"  # one sentence about what could not be done with an account
NEW_NAME, NEW_PASSWORD, NEW_ROLE = "admin.name", "admin.password", "admin.role"
SHOW = "show"
CALLS_WIDGET = "calls.widget."  # before the name of a parameter: the widget that shows it and writes it
CALLS_PICK = "calls.pick."  # before a chart's name and round: what was chosen in it
CALLS_ROUND = "calls.round"  # how often something was chosen; a new round begins with nothing chosen
CALLS_SEEN = "calls.seen"  # (newest change, when drawn, seconds it took) of what the page shows
CALLS_FILE = "calls.file"  # (address, path, name) of the export that is ready
CALLS_FILE_PROBLEM = "calls.file_problem"  # one sentence about why no export could be made
CALLS_VERDICT = "calls.verdict"  # (whether the log holds, one sentence)
CALLS_NAME = "calls.name"  # of the view to save
CALLS_NOTICE = "calls.notice"  # one sentence about what was just done, or could not be
BROWSE_WIDGET = "browse.widget."  # before the name of a part of the query or address: the widget that shows it
BROWSE_PICK = "browse.pick."  # before a list, its rows and a round: what was chosen in that table
BROWSE_ROUND = "browse.round"  # how often a row was opened; a new round begins with nothing chosen
BROWSE_CHOSEN = "browse.chosen"  # ids of the sessions that are ticked, on whatever page of the list
BROWSE_EVERY = "browse.every"  # the query whose sessions are chosen, all of them
BROWSE_NAME = "browse.name"  # of the view to save
BROWSE_NOTICE = "browse.notice"  # one sentence about what could not be done
BROWSE_PROBLEM = "browse.problem"  # one sentence about what could not be kept of a dialog
BROWSE_DONE = "browse.done"  # one sentence about what was just done
BROWSE_DELETED = "browse.deleted"  # ids of the sessions that were deleted last, for the undo
BROWSE_VERDICT = "browse.verdict"  # the session that was judged in the review since it was drawn
BROWSE_REVIEW = "browse.review."  # before a session's id and a name: a widget of its review
BROWSE_DRAFT = "browse.draft."  # before the name of a field: a widget of the template that is written
ACTIVITY_WIDGET = "activity.widget."  # before the name of a parameter: the widget that shows it and writes it
ACTIVITY_PICK = "activity.pick."  # before a round: what was chosen in the table
ACTIVITY_ROUND = "activity.round"  # how often a row was opened; a new round begins with nothing chosen
EXPORT_PROBLEM = "export.problem"  # one sentence about why no export could be begun
SESSION_WIDGET = "session.widget."  # before the name of a parameter: the widget that shows it and writes it
SESSION_PICK = "session.pick."  # before a table and a round: what was chosen in it
SESSION_ROUND = "session.round"  # how often a row was opened; a new round begins with nothing chosen
SESSION_NOTICE = "session.notice"  # one sentence about what could not be done
SESSION_MARK = "session.mark."  # before a name: a widget of what one thinks of the session
INSPECTOR_NOTICE = "inspector.notice"  # one sentence about what was just done
INSPECTOR_PROBLEM = "inspector.problem"  # one sentence about what just could not be done
INSPECTOR_WIDGET = "inspector.widget."  # before the name of a part: the widget that shows it
INSPECTOR_DELETED = "inspector.deleted"  # (branch_id, name, when) of the last deletion, for the undo
INSPECTOR_SEEN = "inspector.seen"  # (thread, status, states) of a run that goes on, when it was drawn
FOREIGN_WIDGET = "databases.widget."  # before the name of a parameter: the widget that shows it and writes it
FOREIGN_PICK = "databases.pick."  # before a file, a page of it and a round: what was chosen in the table
FOREIGN_ROUND = "databases.round"  # how often a row was opened; a new round begins with nothing chosen
FOREIGN_PROBLEM = "databases.problem"  # one sentence about what just could not be done
RETENTION_WIDGET = "retention.widget."  # before a rule's id, or "new", and a name: a widget of its form
RETENTION_SEEN = "retention.seen"  # (rule's id or "new", its terms, one sentence) of the last preview
RETENTION_NOTICE = "retention.notice"  # one sentence about what was just done
RETENTION_PROBLEM = "retention.problem"  # one sentence about what could not be done
ERASE = "admin.erase."  # before a user's id: the name that is typed to have it erased
RETENTION_REFUSED = "retention.refused"  # one sentence about what is wrong with the fields of a rule
BRANCHES_NOTICE = "branches.notice"  # one sentence about what was just done
BRANCHES_PROBLEM = "branches.problem"  # one sentence about what just could not be done
BRANCHES_REFUSED = "branches.refused"  # sentences about why no branch could be forked
BRANCHES_WIDGET = "branches.widget."  # before the name of a parameter: the widget that shows it and writes it
BRANCHES_ASKING = "branches.asking"  # whether a dialog was opened since the page was drawn
BRANCHES_SEEN = "branches.seen"  # what of the tree was live when the page was drawn
BRANCHES_PICK = "branches.pick."  # before a round: what was clicked in the picture
BRANCHES_VIEW = "branches.view"  # (round, message to begin at, message clicked) of the picture
BRANCHES_ROWS = "branches.rows"  # how many lines of the list are shown
BRANCHES_MOST = "branches.most"  # how many branches are listed
BRANCHES_DELETED = "branches.deleted"  # (branch_id, name, when) of the last deletion, for the undo
APPROVALS_PLACE = "approvals.place."  # before the name of a parameter: the widget that shows it and writes it
APPROVALS_WIDGET = "approvals.widget."  # before an approval's id and a name: a widget of its form
APPROVALS_SAID = "approvals.said"  # what came of the last decision, and what was typed for one that was too late
APPROVALS_SENT = "approvals.sent"  # the approvals that this tab has decided
APPROVALS_REFUSED = "approvals.refused"  # (approval_id, sentences) about a decision that could not be sent
APPROVALS_NOTICE = "approvals.notice"  # one sentence about a rule that was made or revoked
APPROVALS_RULE_REFUSED = "approvals.rule_refused"  # one sentence about why a rule could not be made
APPROVALS_PROBLEM = "approvals.problem"  # one sentence about what could not be done with a rule
ARTIFACT_DRAFT = "chat.artifact_draft."  # before an artifact: (version, token) of what is being changed by hand
ARTIFACT_TEXT = "chat.artifact_text."  # before the token: what is typed
ARTIFACT_PROBLEM = "chat.artifact_problem"  # why it could not be
ARTIFACT_WIDGET = "chat.artifact_widget."  # before the name of a parameter: the widget that shows it and writes it


def take(key: str) -> Any:
    """The value, which is then forgotten."""
    return st.session_state.pop(key, None)


def get(key: str) -> Any:
    return st.session_state.get(key)


def has(key: str) -> bool:
    return key in st.session_state


def put(key: str, value: Any) -> None:
    st.session_state[key] = value


def begin(key: str, value: Any) -> None:
    """What a widget begins with: unlike one's own default it can be taken away altogether."""
    st.session_state.setdefault(key, value)


def held_back(conversation_id: str | None) -> str | None:
    """What was typed in this conversation and could not be sent yet."""
    return (get(HELD_BACK) or {}).get(conversation_id)


def held_files(conversation_id: str | None) -> tuple[Attachment, ...]:
    """The files that go with that."""
    return tuple((get(HELD_FILES) or {}).get(conversation_id, ()))


def hold_back(conversation_id: str | None, text: str, files: Sequence[Attachment] = ()) -> None:
    """Keep what could not be sent, behind what is kept already."""
    kept = "\n\n".join(part for part in (held_back(conversation_id), text) if part)
    put(HELD_BACK, {**(get(HELD_BACK) or {}), conversation_id: kept})
    put(HELD_FILES, {**(get(HELD_FILES) or {}), conversation_id: (*held_files(conversation_id), *files)})


def release(conversation_id: str | None) -> str:
    """The text that was held back, which is then forgotten, and its files too."""
    text = held_back(conversation_id) or ""
    for key in (HELD_BACK, HELD_FILES):
        put(key, {name: held for name, held in (get(key) or {}).items() if name != conversation_id})
    say_of_files(conversation_id, "")
    return text


def say_of_files(conversation_id: str | None, problem: str) -> None:
    """Keep what is wrong with files that were sent; "" when nothing is."""
    put(FILE_PROBLEM, (conversation_id, problem))


def said_of_files(conversation_id: str | None) -> str:
    where, problem = get(FILE_PROBLEM) or (None, "")
    return problem if where == conversation_id else ""


def approvals_typed(approval_id: str) -> dict[str, Any]:
    """What the fields of an approval's form hold, by their names; nothing of what is empty."""
    prefix = f"{APPROVALS_WIDGET}{approval_id}."
    held = {str(name).removeprefix(prefix): get(name) for name in st.session_state if str(name).startswith(prefix)}
    return {name: value for name, value in held.items() if ".field" in name and value not in (None, "", [])}


@contextmanager
def problems(key: str = PROBLEM) -> Iterator[None]:
    """Keep the sentence of what could not be done, for the page to show; for use in callbacks."""
    try:
        yield
    except SkeinError as error:
        put(key, str(error))
