"""Other programs' databases of checkpoints."""
