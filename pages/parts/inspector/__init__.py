"""The thread inspector: the checkpoints of a run and what each of them holds."""
