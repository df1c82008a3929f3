"""The run engine: an execution lives here, apart from any page; pages start it, attach to its log, and stop it."""
