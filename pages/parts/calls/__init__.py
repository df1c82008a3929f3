"""The Calls page: filters, panels, the table, and one call opened."""
