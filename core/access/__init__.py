"""Who is here and what they may do: accounts, sign-in, roles, and the Viewer that every use case takes first."""
