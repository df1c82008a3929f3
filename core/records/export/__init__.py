"""Sessions as a file to hand over: rows, states, files and readable pages, with what proves them.

``sessions`` puts an export together, ``jobs`` does so in the background, ``check_export`` checks one, alone.
"""
