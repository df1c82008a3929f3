"""The demo world: people, sessions and all that comes with them, made by really running the engine."""
