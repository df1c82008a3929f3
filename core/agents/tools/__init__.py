"""The tools that the shipped agents work with; each reaches the database only through its run's workspace."""
