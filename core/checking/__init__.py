"""Whether a graph does in Skein what it does bare: run both ways, and compared."""
