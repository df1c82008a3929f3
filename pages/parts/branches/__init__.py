"""The Branches page: the tree, the chosen message, comparisons, the time machine."""
