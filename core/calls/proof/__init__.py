"""The chain of seals over the log, and the check that it holds."""
