"""Days as the person at the page counts them: by the time zone of their browser."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import streamlit as st


def today() -> date:
    """The day it is where the person is."""
    return datetime.now(zone()).date()


def midnight(day: date) -> datetime:
    """The moment at which the day begins where the person is, in UTC."""
    return datetime.combine(day, time(), zone()).astimezone(UTC)


def zone() -> ZoneInfo:
    """Where the person at the page is, as far as their browser tells."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ValueError, OSError, KeyError):
        return ZoneInfo("UTC")
