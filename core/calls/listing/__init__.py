"""The call table: its pages, one call whole, and the export."""
