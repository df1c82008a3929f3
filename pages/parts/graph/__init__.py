"""A graph as a picture, and its nodes lit while they work."""
