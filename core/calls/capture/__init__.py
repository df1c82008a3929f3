"""From a call that is made to its row: heard, made plain, put into rows, written in batches."""
