"""Beginning a session from a template: the session, a conversation in it, and the template's messages one by one.

Invariant: each message waits for the answer to the one before it; where the first cannot be sent, no session is
left.
"""

from dataclasses import dataclass

from core.access.viewer import Viewer
from core.errors import SkeinError
from core.history.messages import Added, NewMessage
from core.history.sessions import create_session, mark_deleted
from core.history.templates import TemplateRow, get_template
from core.ids import SessionId, TemplateId
from core.runs.engine import Engine


@dataclass(frozen=True)
class Begun:
    """A session that was begun; ``added`` is its last message, None where the template has none.

    ``left`` messages could not be sent, for the reason that ``problem`` says.
    """

    session_id: SessionId
    added: Added | None = None
    left: int = 0
    problem: str = ""


def begin_session(engine: Engine, viewer: Viewer, template_id: TemplateId, *, title: str = "") -> Begun:
    """Make a session from a template, and send its messages; the template's title is meant where none is given."""
    with engine.database.read() as db:
        template = get_template(viewer, db, template_id)
    called = title.strip() or template.title or template.name
    session_id = engine.database.write(lambda db: create_session(viewer, db, called, template_id))
    added: Added | None = None
    for place, text in enumerate(template.messages):
        try:
            added = engine.start(viewer, _message(template, text, session_id, added), when_busy="wait")
        except SkeinError as error:
            if added is not None:
                return Begun(session_id, added, len(template.messages) - place, str(error))
            engine.database.write(lambda db: mark_deleted(viewer, db, session_id))
            raise
    return Begun(session_id, added)


def _message(template: TemplateRow, text: str, session_id: SessionId, above: Added | None) -> NewMessage:
    return NewMessage(
        text,
        conversation_id=above.conversation_id if above else None,
        parent_message_id=above.message_id if above else None,
        session_id=None if above else session_id,
        branch_id=above.branch_id if above else None,
        agent_id=template.agent_id,
        config=dict(template.settings),
    )
