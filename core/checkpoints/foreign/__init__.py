"""SQLite files that other LangGraph programs wrote, read by Skein: never written, and nothing in them is run.

Each stands on those above it:

    opening     a connection that can do nothing but read two tables, or one sentence why not
    schema      what these tables look like, by the version of the saver that wrote them
    objects     what stands in a value for an object, told without making it
    unpacking   MessagePack as plain data, within bounds
    values      a value by the kind that stands beside it: MessagePack, JSON, pickle, encrypted
    cells       what stands in a cell, as what it should be
    told        messages, wherever a state has them
    early       what early versions of LangGraph stored otherwise
    branches    the ways that a thread's checkpoints took, by their parents
    reading     a file's checkpoints and states
    threads     the list of its threads
"""
