"""Artifacts beside the chat: a list of them, one with its versions, and changes by hand."""
