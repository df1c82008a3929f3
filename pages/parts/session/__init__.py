"""One session, opened."""
