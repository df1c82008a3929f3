"""Skein's core: IDs, persistence, runs. It never imports Streamlit and can be used from a script or a test.

Imports point down only:

    ids errors settings          ground floor, with json_schema: whether a value is what a schema asks for
    outside logs                 what every text from outside passes before it is kept, shown or logged
    tables database migrations   one schema, the only place that knows SQLite from PostgreSQL
    outages                      stores that fail for a while, and what to say of it
    prepared                     statements of the hot path, compiled once and run by the driver
    access                       accounts, sign-in, roles, Viewer
    history                      sessions, conversations (the tree), branches, approvals, rules, artifacts
    checkpoints                  LangGraph's saver: open, fork, edit, compact
    calls                        the call log
    agents                       registry, shipped graphs and their tools, chat models, attached files
    runs                         the engine: start, attach, stop, recover; the gate, decisions; branching
    records                      what crosses the rooms: comparing, export, purge, compaction
    skein                        `open_skein`: one object, opened once per process, that holds them all
    checking                     whether a graph does here what it does bare; `check-graph`
    cli                          management commands
"""

import os

# Before langgraph is imported anywhere: only known types are brought back from a checkpoint (docs/decisions/0008).
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
