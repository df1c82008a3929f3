"""Skein's core: IDs, persistence, runs. It never imports Streamlit and can be used from a script or a test.

Imports point down only:

    ids errors settings          ground floor
    tables database migrations   one schema, the only place that knows SQLite from PostgreSQL
    access                       accounts, sign-in, roles, Viewer
    history                      sessions, conversations (the tree), messages, branches, snapshots
    checkpoints                  LangGraph's saver: open, fork, edit, compact
    calls                        the call log
    agents                       registry, shipped graphs, chat models
    runs                         the engine: start, attach, stop, recover; branching
    records                      what crosses the rooms: comparing, export, purge, compaction
    skein                        `open_skein`: one object, opened once per process, that holds them all
    cli                          management commands
"""

import os

# Before langgraph is imported anywhere: only known types are brought back from a checkpoint (docs/decisions/0008).
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
