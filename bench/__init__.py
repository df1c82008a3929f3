"""Measurements of Skein: see README.md here. Nothing in core or pages imports this."""
