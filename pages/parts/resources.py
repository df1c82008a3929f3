"""What outlives a rerun: the one open Skein of this process. The only place where pages may cache."""

from core.skein import Skein, current_skein


def get_skein() -> Skein:
    """The open Skein: the same object for every tab, the door and the engine."""
    return current_skein()
