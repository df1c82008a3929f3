"""Agents: the registry of graphs, the graphs that ship with Skein, and the chat models they ask."""
