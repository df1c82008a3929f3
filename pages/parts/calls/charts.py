"""The Calls page's charts: pandas frames in, Altair charts out.

Invariant: pure functions, the same for the same frame. What can be chosen in a chart is the selection ``pick``,
whose fields are named after what the page narrows by; a bar's time is from ``slot`` to ``until``, in UTC.
"""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import altair as alt
import pandas as pd

from pages.parts.ui.chart_parts import (
    COLORS,
    GRAY,
    TIME_LABEL,
    WEEKDAYS,
    colors,
    legend_height,
    log_times,
    name_axis,
    number_axis,
    pick,
    placed,
    slots,
    spanned,
    time_axis,
)
from pages.parts.ui.format import count, dollars, milliseconds, total_cost

MOST_MODELS = 7
NOBODY, NO_MODEL, NO_NODE, NO_CLASS = "(none)", "(no model)", "(no node)", "(no class)"
_OTHER_NODES = "other nodes"
_MOST_ROWS = 10
_PLOT, _ROW, _BAR = 200, 27, 18
_SAYS = {"calls": count, "errors": count, "cost_usd": dollars, "tokens": count}
_TITLES = {"calls": "Calls", "errors": "Errors", "cost_usd": "Cost", "tokens": "Tokens"}


def over_time(
    frame: pd.DataFrame,
    *,
    measure: str,
    step: timedelta,
    tz: ZoneInfo,
    span: tuple[datetime, datetime] | None = None,
) -> alt.Chart:
    """Stacked bars of a measure by model; a chosen one gives its slot and model (None: several)."""
    folded, names = fold_models(frame)
    shown = placed(slots(spanned(folded, span, step), tz, step), "name", names)
    shown["said"] = [_SAYS[measure](value) for value in shown[measure]]
    return (
        alt.Chart(shown)
        .mark_bar(cursor="pointer", orient="vertical", binSpacing=0.5)
        .encode(
            x=time_axis(step),
            x2="ends:T",
            y=alt.Y(f"{measure}:Q", title=None, stack="zero", axis=number_axis(measure, shown)),
            color=colors("name", names),
            order=alt.Order("place:Q"),
            tooltip=[
                alt.Tooltip("when:N", title="Time"),
                alt.Tooltip("name:N", title="Model"),
                alt.Tooltip("said:N", title=_TITLES[measure]),
            ],
        )
        .add_params(pick("slot", "until", "model"))
        .properties(height=_PLOT + legend_height(names))
    )


def tokens_over_time(
    frame: pd.DataFrame, *, step: timedelta, tz: ZoneInfo, span: tuple[datetime, datetime] | None = None
) -> alt.Chart:
    """Tokens read, read from a cache ("Cached"), and written; a chosen bar gives its time."""
    names = ["Read", "Cached", "Written"]
    sums = frame.groupby("at", as_index=False)[["input_tokens", "output_tokens", "cache_read_tokens"]].sum()
    sums["Read"] = (sums["input_tokens"] - sums["cache_read_tokens"]).clip(lower=0)
    sums = sums.rename(columns={"cache_read_tokens": names[1], "output_tokens": names[2]})
    long = sums.melt(["at"], names, var_name="kind", value_name="tokens")
    shown = slots(spanned(long, span, step), tz, step)
    shown = placed(shown, "kind", names).assign(said=[count(value) for value in shown["tokens"]])
    return (
        alt.Chart(shown)
        .mark_bar(cursor="pointer", orient="vertical", binSpacing=0.5)
        .encode(
            x=time_axis(step),
            x2="ends:T",
            y=alt.Y("tokens:Q", title=None, stack="zero", axis=number_axis("tokens", shown)),
            color=colors("kind", names, columns=3),
            order=alt.Order("place:Q"),
            tooltip=[
                alt.Tooltip("when:N", title="Time"),
                alt.Tooltip("kind:N", title="Tokens"),
                alt.Tooltip("said:N", title="Count"),
            ],
        )
        .add_params(pick("slot", "until"))
        .properties(height=_PLOT + legend_height(names, columns=3))
    )


def latency(frame: pd.DataFrame, *, first_token: bool = False) -> alt.LayerChart:
    """p50, p95 and p99 of each model on one logarithmic scale of time; a chosen point gives its ``model``."""
    prefix = "ttft_" if first_token else ""
    names = {f"{prefix}{name}_ms": name for name in ("p50", "p95", "p99")}
    rows = frame.sort_values("calls", ascending=False).head(_MOST_ROWS)
    rows["name"] = rows["model"].replace("", NO_MODEL)
    long = rows.melt(["model", "name", "calls"], list(names), var_name="of", value_name="ms").dropna(subset="ms")
    long = long[long["ms"] > 0].replace({"of": names})
    long["said"] = [milliseconds(ms) for ms in long["ms"]]
    order = [name for name in rows["name"] if name in set(long["name"])]
    base = alt.Chart(long).encode(y=name_axis("name", order), x=log_times(long["ms"]))
    line = base.mark_line(strokeWidth=2, opacity=0.35, color=GRAY).encode(detail="name:N")
    points = base.mark_point(filled=True, size=95, opacity=1, cursor="pointer").encode(
        color=colors("of", list(names.values()), columns=3),
        shape=alt.Shape("of:N", scale=alt.Scale(domain=list(names.values())), legend=None),
        tooltip=[
            alt.Tooltip("name:N", title="Model"),
            alt.Tooltip("of:N", title="Percentile"),
            alt.Tooltip("said:N", title="First token" if first_token else "Duration"),
            alt.Tooltip("calls:Q", title="Calls", format=","),
        ],
    )
    return (line + points.add_params(pick("model"))).properties(height=_rows_height(order) + legend_height([]))


def histogram(frame: pd.DataFrame) -> alt.Chart:
    """How many calls took how long; a chosen bar gives ``from_ms`` and ``to_ms``."""
    shown = frame.assign(low=frame["from_ms"].clip(lower=1), high=frame["to_ms"].clip(lower=1.001))
    shown["range"] = [
        f"{milliseconds(low)} to {milliseconds(high)}"
        for low, high in zip(shown["from_ms"], shown["to_ms"], strict=True)
    ]
    return (
        alt.Chart(shown)
        .mark_bar(cursor="pointer", orient="vertical", binSpacing=0.5, color=COLORS[0])
        .encode(
            x=log_times(pd.concat([shown["low"], shown["high"]]), field="low"),
            x2="high:Q",
            y=alt.Y("calls:Q", title=None, axis=number_axis("calls", shown)),
            tooltip=[
                alt.Tooltip("range:N", title="Took"),
                alt.Tooltip("calls:Q", title="Calls", format=","),
            ],
        )
        .add_params(pick("from_ms", "to_ms"))
        .properties(height=_PLOT + 30)
    )


def errors(frame: pd.DataFrame) -> alt.Chart:
    """Failed calls by class, split by node; a chosen bar gives its ``error_type`` and ``node`` (None: several)."""
    classes = _by_size(frame, "error_type", "calls")[:_MOST_ROWS]
    shown = _fold_nodes(frame[frame["error_type"].isin(classes)])
    nodes = sorted(_by_size(shown, "of", "calls"), key=lambda name: name == _OTHER_NODES)
    shown = placed(shown, "of", nodes).assign(name=shown["error_type"].replace("", NO_CLASS))
    return (
        alt.Chart(shown)
        .mark_bar(cursor="pointer", size=_BAR)
        .encode(
            y=name_axis("name", [error or NO_CLASS for error in classes]),
            x=alt.X("calls:Q", title=None, stack="zero", axis=number_axis("calls", shown)),
            color=colors("of", nodes),
            order=alt.Order("place:Q"),
            tooltip=[
                alt.Tooltip("name:N", title="Error"),
                alt.Tooltip("of:N", title="Node"),
                alt.Tooltip("calls:Q", title="Calls", format=","),
            ],
        )
        .add_params(pick("error_type", "node"))
        .properties(height=_rows_height(classes) + legend_height(nodes))
    )


def _fold_nodes(frame: pd.DataFrame) -> pd.DataFrame:
    """The same with what each node is called (``of``), and those beyond the colours taken together."""
    kept = frame["node"].isin(_by_size(frame, "node", "calls")[: MOST_MODELS + 1])
    if kept.all():
        return frame.assign(of=frame["node"].replace("", NO_NODE))
    kept = frame["node"].isin(_by_size(frame, "node", "calls")[:MOST_MODELS])
    named = frame.assign(
        of=frame["node"].replace("", NO_NODE).where(kept, _OTHER_NODES), node=frame["node"].where(kept, None)
    )
    return named.groupby(["error_type", "of", "node"], as_index=False, dropna=False).sum(numeric_only=True)


def top(frame: pd.DataFrame, *, measure: str = "cost_usd") -> alt.LayerChart:
    """Who or what leads by a measure, the largest above; a chosen bar gives its ``key``."""
    shown = frame.sort_values(measure, ascending=False).reset_index(drop=True)
    shown["name"] = _told_apart(shown)
    shown["cost"] = [_cost_of(row) for row in shown.to_dict("records")]
    shown["said"] = shown["cost"] if measure == "cost_usd" else [_SAYS[measure](value) for value in shown[measure]]
    most = float(shown[measure].max()) if len(shown) else 0.0
    base = alt.Chart(shown).encode(
        y=name_axis("name", list(shown["name"])),
        x=alt.X(f"{measure}:Q", title=None, axis=None, scale=alt.Scale(domain=[0, (most or 1) * 1.35])),
        tooltip=[
            alt.Tooltip("name:N", title="Name"),
            alt.Tooltip("cost:N", title="Cost"),
            alt.Tooltip("calls:Q", title="Calls", format=","),
            alt.Tooltip("errors:Q", title="Errors", format=","),
            alt.Tooltip("tokens:Q", title="Tokens", format=","),
        ],
    )
    bars = base.mark_bar(cursor="pointer", color=COLORS[0], size=_BAR).add_params(pick("key"))
    words = base.mark_text(align="left", dx=5, fontSize=12, color=GRAY).encode(text="said:N")
    return (bars + words).properties(height=_rows_height(list(shown["name"])))


def heat(frame: pd.DataFrame, *, measure: str = "calls") -> alt.Chart:
    """When the work is done: a cell for each hour of each weekday; a chosen one gives ``weekday`` and ``hour``."""
    shown = frame.assign(
        day=[WEEKDAYS[weekday] for weekday in frame["weekday"]],
        at=[f"{WEEKDAYS[day]} {hour:02}:00" for day, hour in zip(frame["weekday"], frame["hour"], strict=True)],
        said=[_SAYS[measure](value) for value in frame[measure]],
    )
    return (
        alt.Chart(shown)
        .mark_rect(cursor="pointer", cornerRadius=2, color=COLORS[0])
        .encode(
            x=alt.X(
                "hour:O",
                title=None,
                scale=alt.Scale(domain=list(range(24)), paddingInner=0.08),
                axis=alt.Axis(labelAngle=0, values=list(range(0, 24, 3)), labelExpr="datum.value + ':00'"),
            ),
            y=alt.Y("day:O", title=None, scale=alt.Scale(domain=list(WEEKDAYS), paddingInner=0.08)),
            opacity=alt.Opacity(f"{measure}:Q", legend=None, scale=alt.Scale(range=[0.08, 1], zero=True)),
            tooltip=[
                alt.Tooltip("at:N", title="Hour"),
                alt.Tooltip("said:N", title=_TITLES[measure]),
                alt.Tooltip("errors:Q", title="Errors", format=","),
            ],
        )
        .add_params(pick("weekday", "hour"))
        .properties(height=_PLOT + 30)
    )


def timing(stretches: list[tuple[str, float, float]]) -> alt.Chart:
    """One bar of the stretches that a call's time is made of: (name, from ms, to ms)."""
    frame = pd.DataFrame(stretches, columns=["name", "low", "high"])
    frame["said"] = [milliseconds(high - low) for low, high in zip(frame["low"], frame["high"], strict=True)]
    return (
        alt.Chart(frame)
        .mark_bar(height=14, cornerRadius=2)
        .encode(
            x=alt.X("low:Q", title=None, axis=alt.Axis(labelExpr=TIME_LABEL, tickCount=5, grid=False)),
            x2="high:Q",
            color=colors("name", list(frame["name"]), columns=3),
            tooltip=[alt.Tooltip("name:N", title="What"), alt.Tooltip("said:N", title="Took")],
        )
        .properties(height=95)
    )


def fold_models(frame: pd.DataFrame, most: int = MOST_MODELS) -> tuple[pd.DataFrame, list[str]]:
    """The same with each model's ``name``, all but the ``most`` used ones taken together; and the names by use."""
    models = _by_size(frame, "model", "calls")
    names = [model or NO_MODEL for model in models]
    if len(models) <= most + 1:
        return frame.assign(name=frame["model"].replace("", NO_MODEL)), names
    rest, kept = f"{len(models) - most} other models", frame["model"].isin(models[:most])
    named = frame.assign(
        name=frame["model"].replace("", NO_MODEL).where(kept, rest), model=frame["model"].where(kept, None)
    )
    sums = named.groupby(["at", "name", "model"], as_index=False, dropna=False).sum(numeric_only=True)
    return sums, [*names[:most], rest]


def _by_size(frame: pd.DataFrame, column: str, measure: str) -> list[str]:
    return list(frame.groupby(column)[measure].sum().sort_values(ascending=False, kind="stable").index)


def _told_apart(frame: pd.DataFrame) -> list[str]:
    """A name for each row; those that share one get the end of their key."""
    labels = [label or NOBODY for label in frame["label"]]
    return [
        f"{label} ({key[-4:]})" if labels.count(label) > 1 and key else label
        for label, key in zip(labels, frame["key"], strict=True)
    ]


def _rows_height(rows: list[str]) -> int:
    return 30 + _ROW * max(3, len(rows))


def _cost_of(row: dict[str, float]) -> str:
    return total_cost(row["cost_usd"], calls=int(row["calls"]), unpriced=int(row["unpriced"]))
