"""What people did, for the rooms above; it stands in ``core/access/activity.py``, for signing in is a deed too."""

from core.access.activity import HOUSE, is_recorded, record, record_look, record_once

__all__ = ["HOUSE", "is_recorded", "record", "record_look", "record_once"]
