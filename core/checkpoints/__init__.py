"""LangGraph's checkpoints: open a saver, and start a thread from the state of another one."""
