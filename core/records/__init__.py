"""What crosses the rooms: records that are put together from history, checkpoints, the call log and runs at once.

Nothing below imports this room; what it does is a use case of its own, that no single room could carry out.
"""
