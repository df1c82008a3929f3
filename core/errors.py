"""Every error that core raises on purpose, branched by what the page should do about it.

    SkeinError
    ├── SignInError        send the person to the sign-in page
    ├── ForbiddenError     say that their role does not allow it
    ├── NotFoundError      say that it is not there (also: it is there, but not theirs)
    ├── BadInputError      show the sentence beside what they typed, and keep what they typed
    │   └── SettingsError  stop at start-up, naming the setting
    ├── ConflictError      somebody else was first: show what is there now
    ├── BusyError          try again in a moment, or wait
    │   └── OutageError    the same: the database is away, or (NoRoomError) its disk is full
    ├── DamageError        say that what is stored is damaged, and that a backup may help
    ├── CreationError      nothing was written: offer to send it again
    └── RunError           an execution failed: say why and offer to retry

The message of each is one sentence for people: what is wrong, and how to mend it. It never holds a secret:
where it quotes somebody else, such as a driver, that text is read by ``outside.read_failure`` first.
"""

from core.outside import fit_text


class SkeinError(Exception):
    """The root: catch this to show any of ours as a sentence."""

    def __str__(self) -> str:
        return fit_text(super().__str__())


class SignInError(SkeinError):
    """Nobody, or nobody any more, is signed in."""


class ForbiddenError(SkeinError):
    """The viewer's role does not allow this."""


class NotFoundError(SkeinError):
    """There is no such thing for this viewer."""


class BadInputError(SkeinError, ValueError):
    """What was given cannot be used; the sentence says how to mend it."""


class SettingsError(BadInputError):
    """A setting is missing or wrong."""


class ConflictError(SkeinError):
    """What was asked for no longer fits what is there."""


class BusyError(SkeinError):
    """It cannot be done now, but may be in a moment."""


class OutageError(BusyError):
    """What is stored cannot be read or written just now."""


class NoRoomError(OutageError):
    """The disk is full."""


class DamageError(SkeinError):
    """A file that is read is damaged."""


class CreationError(SkeinError):
    """Something could not be created; nothing half-made remains."""


class RunError(SkeinError):
    """An execution of a graph could not be carried out."""
