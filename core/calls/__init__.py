"""The call log: every LLM call attributed, priced, kept, sealed, and counted for the page that shows it.

``capture`` hears every call of the process and writes it, with what ``pricing`` says it cost, with its place in the
sums of ``panels``, and under a seal of ``proof``, in one transaction. ``panels``, ``listing`` and ``text`` read;
``filters`` says what part of the log is looked at. ``context`` says whose a call is.
"""
