"""The call log: every LLM call attributed, priced, kept, sealed, and counted for the page that shows it.

A handler that hears every call of the process (``handler``) hands what it saw to one writer thread (``log``), which
turns it into rows (``rows``, ``usage``, ``prices``), and in one transaction stores, counts (``rollups``) and seals
them (``seals``). ``analytics``, ``queries``, ``search`` and ``export`` read.
"""
