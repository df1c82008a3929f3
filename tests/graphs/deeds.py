"""What the nodes of the tests' graphs have done besides, for graphs that are imported under several names."""

DEEDS: list[str] = []
