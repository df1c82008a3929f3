"""The figures of the Calls page: sums kept beside the calls, and how the panels read them."""
