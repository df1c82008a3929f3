"""What the charts of the Calls page are put together from: slots of time, axes, colours, what can be chosen.

Pure functions over frames; ``pages/parts/calls/charts.py`` has the charts themselves.
"""

from datetime import datetime, timedelta
from zlib import crc32
from zoneinfo import ZoneInfo

import altair as alt
import pandas as pd

PICK = "pick"
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
# Told apart on white and on black.
COLORS = ("#14a394", "#f0a330", "#4f8fd0", "#e0697a", "#9a7fd1", "#8ab441", "#b5835a", "#93a19d")
GRAY = "#84928e"
_LEGEND_ROW = 21
# As people say them: ticks of a scale of times.
TIME_LABEL = (
    "datum.value >= 60000 ? format(datum.value / 60000, '.2~r') + ' min' : "
    "datum.value >= 1000 ? format(datum.value / 1000, '~r') + ' s' : format(datum.value, '~r') + ' ms'"
)
_DAY_LABEL = "hours(datum.value) ? '' : timeFormat(datum.value, '%d %b')"
_HOUR_LABEL = "timeFormat(datum.value, hours(datum.value) || minutes(datum.value) ? '%H:%M' : '%a %d')"
# Ticks of a logarithmic scale: the first of these that gives enough of them.
_TICKS = [[value * 10**power for power in range(7) for value in values] for values in ((1, 3), (1, 2, 3, 5, 7))]


def spanned(frame: pd.DataFrame, span: tuple[datetime, datetime] | None, step: timedelta) -> pd.DataFrame:
    """With nothing at the first and the last slot, so that the axis shows the whole span."""
    if span is None or frame.empty:
        return frame
    first, last = (pd.Timestamp(moment) for moment in (span[0], max(span[0], span[1] - step)))
    nothing = frame.iloc[[0, 0]].assign(at=[first, last])
    measures = nothing.select_dtypes("number").columns
    return pd.concat([frame, nothing.assign(**dict.fromkeys(measures, 0))], ignore_index=True)


def slots(frame: pd.DataFrame, tz: ZoneInfo, step: timedelta) -> pd.DataFrame:
    """With each bar's wall-clock begin and end, the same two in UTC (``slot``, ``until``), and its time in words.

    Browsers show a moment without a zone as it stands, whatever zone they are in themselves. Where the clocks go
    back, the hour that they show twice is one bar.
    """
    at = pd.to_datetime(frame["at"], utc=True)
    wall = at.dt.tz_convert(tz).dt.tz_localize(None)
    is_day = step >= timedelta(days=1)
    ends = _to_utc(wall + step, tz) if is_day else at + step
    first, last = at.groupby(wall).transform("min"), ends.groupby(wall).transform("max")
    return frame.assign(
        at=wall,
        ends=ends.dt.tz_convert(tz).dt.tz_localize(None) if is_day else wall + step,
        slot=[moment.isoformat() for moment in first],
        until=[moment.isoformat() for moment in last],
        when=wall.dt.strftime("%a %d %b %Y" if is_day else "%a %d %b, %H:%M"),
    )


def _to_utc(wall: "pd.Series[pd.Timestamp]", tz: ZoneInfo) -> "pd.Series[pd.Timestamp]":
    """Days of a zone may be 23 or 25 hours long, and begin later than at midnight."""
    local = wall.dt.tz_localize(tz, ambiguous=True, nonexistent="shift_forward")  # type: ignore[arg-type]
    return local.dt.tz_convert("UTC")


def time_axis(step: timedelta) -> alt.X:
    label = _DAY_LABEL if step >= timedelta(days=1) else _HOUR_LABEL
    return alt.X("at:T", title=None, axis=alt.Axis(labelExpr=label, labelOverlap=True, tickCount=6, grid=False))


def number_axis(measure: str, frame: pd.DataFrame) -> alt.Axis:
    if measure != "cost_usd":
        return alt.Axis(labelExpr="format(datum.value, '~s')", tickCount=4, tickMinStep=1)
    most = float(frame.groupby("at")[measure].sum().max()) if len(frame) else 0.0
    places = 2 if most >= 0.1 else 5
    if most >= 10:
        places = 0
    return alt.Axis(format=f"$,.{places}~f", tickCount=4)


def log_times(values: "pd.Series[float]", field: str = "ms") -> alt.X:
    """A logarithmic scale of milliseconds, with the ticks that fit what is shown."""
    low, high = (float(values.min()) * 0.8, float(values.max()) * 1.25) if len(values) else (1.0, 10_000.0)
    found = [[tick for tick in ticks if low <= tick <= high] for ticks in _TICKS]
    return alt.X(
        f"{field}:Q",
        title=None,
        scale=alt.Scale(type="log", domain=[low, high], nice=False),
        axis=alt.Axis(
            values=next((ticks for ticks in found if len(ticks) > 2), found[-1]),
            labelExpr=TIME_LABEL,
            labelOverlap=True,
        ),
    )


def name_axis(field: str, order: list[str]) -> alt.Y:
    return alt.Y(f"{field}:N", title=None, sort=order, axis=alt.Axis(labelLimit=150))


def colors(field: str, order: list[str], *, columns: int = 2) -> alt.Color:
    legend = alt.Legend(orient="bottom", columns=columns, title=None, labelLimit=270 // columns, offset=6)
    return alt.Color(f"{field}:N", scale=alt.Scale(domain=order, range=colors_of(order)), legend=legend)


def colors_of(names: list[str]) -> list[str]:
    """A colour for each name, the same in every chart and under every filter where two do not want the same."""
    taken: dict[str, int] = {}
    for name in sorted(names):
        place = crc32(name.encode()) % len(COLORS)
        free = [spot % len(COLORS) for spot in range(place, place + len(COLORS))]
        taken[name] = next((spot for spot in free if spot not in taken.values()), place)
    return [COLORS[taken[name]] for name in names]


def legend_height(entries: list[str], *, columns: int = 2) -> int:
    return 48 + _LEGEND_ROW * max(1, -(-len(entries) // columns))


def placed(frame: pd.DataFrame, field: str, order: list[str]) -> pd.DataFrame:
    """With each value's place in the order: a stack is built as its legend lists it."""
    places = {value: place for place, value in enumerate(order)}
    return frame.assign(place=frame[field].map(places))


def pick(*fields: str) -> alt.Parameter:
    return alt.selection_point(name=PICK, fields=list(fields), clear=False)
