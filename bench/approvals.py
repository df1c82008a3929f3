"""What it costs to wait for a person: deciding, going on, the desk, and a tool call at the gate.

All in one run, with a graph that calls a tool without a model. ``plain`` is a turn whose tool is not asked about,
``asked`` a turn until it waits, ``decide`` what a click takes until it is committed, ``goes_on`` from there until
the run is done; ``ruled`` is the plain turn with a rule to allow that must be looked up. ``desk`` reads the first
page of all that waits.

    python -m bench.approvals --threads 200
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.access.viewer import Viewer
from core.history.approvals import list_approvals
from core.history.messages import NewMessage
from core.history.rules import add_rule
from core.ids import ThreadId, new_user_id
from core.runs.decisions import Decision, decide
from core.settings import load_settings
from core.skein import Skein, open_skein
from core.tables import User

_GRAPHS = '''
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import interrupt

@tool
def note(text: str) -> str:
    """Note something."""
    return text

@tool
def ask(text: str) -> str:
    """Note something, if a person agrees."""
    answer = interrupt({"type": "tool_approval", "tool_call_id": "1", "name": "ask", "args": {"text": text}})
    return str(answer)

def build(name):
    def model(state):
        if isinstance(state["messages"][-1], ToolMessage):
            return {"messages": [AIMessage("done")]}
        return {"messages": [AIMessage("", tool_calls=[{"name": name, "args": {"text": "x"}, "id": "1"}])]}
    graph = StateGraph(MessagesState).add_node("model", model).add_node("tools", ToolNode([note, ask]))
    graph.add_edge(START, "model").add_edge("tools", "model")
    return graph.add_conditional_edges("model", lambda s: "tools" if s["messages"][-1].tool_calls else END)

plain, asking = build("note"), build("ask")
'''


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=200)
    count = parser.parse_args().threads
    with tempfile.TemporaryDirectory() as folder:
        skein = _open(Path(folder))
        try:
            _report(_measure(skein, count))
        finally:
            skein.close()


def _open(folder: Path) -> Skein:
    (folder / "graphs.py").write_text(_GRAPHS)
    graphs = {name: {"path": f"./graphs.py:{name}"} for name in ("plain", "asking")}
    (folder / "langgraph.json").write_text(json.dumps({"graphs": graphs}))
    return open_skein(
        load_settings(data_dir=folder / "data", langgraph_json=folder / "langgraph.json", log_level="ERROR")
    )


def _measure(skein: Skein, count: int) -> dict[str, list[float]]:
    viewer = Viewer(new_user_id(), "ada")
    row = User(user_id=viewer.user_id, name="ada", password_hash="")
    skein.database.write(lambda db: db.add(row))

    def turn(agent: str) -> ThreadId:
        thread_id = skein.engine.start(viewer, NewMessage("go", agent_id=agent)).thread_id
        _follow(skein, viewer, thread_id)
        return thread_id

    turn("plain")
    times: dict[str, list[float]] = {"plain": [_ms(lambda: turn("plain")) for _ in range(count)]}
    times["asked"] = [_ms(lambda: turn("asking")) for _ in range(count)]
    with skein.database.read() as db:
        waiting = list_approvals(viewer, db, limit=count)
    times["desk"] = [_ms(lambda: _read_desk(skein, viewer)) for _ in range(20)]
    times["decide"], times["goes_on"] = [], []
    for row in waiting:
        decision = [Decision("approve")]
        begun = time.perf_counter()
        decide(skein.engine, viewer, row.approval_id, decision, arguments_hash=row.arguments_hash)
        decided = time.perf_counter()
        _follow(skein, viewer, row.thread_id)
        times["decide"].append((decided - begun) * 1000)
        times["goes_on"].append((time.perf_counter() - decided) * 1000)
    skein.database.write(lambda db: add_rule(viewer, db, effect="allow", tool="note"))
    times["ruled"] = [_ms(lambda: turn("plain")) for _ in range(count)]
    return times


def _follow(skein: Skein, viewer: Viewer, thread_id: ThreadId) -> None:
    for _ in skein.engine.attach(viewer, thread_id):
        pass


def _read_desk(skein: Skein, viewer: Viewer) -> None:
    with skein.database.read() as db:
        list_approvals(viewer, db)


def _ms(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1000


def _report(times: dict[str, list[float]]) -> None:
    plain = statistics.median(times["plain"])
    print(f"{'':10}{'p50 ms':>10}{'p95 ms':>10}{'/ plain':>10}")
    for name, taken in times.items():
        p50, p95 = statistics.median(taken), statistics.quantiles(taken, n=20)[-1]
        print(f"{name:10}{p50:>10.1f}{p95:>10.1f}{p50 / plain:>10.2f}")


if __name__ == "__main__":
    main()
