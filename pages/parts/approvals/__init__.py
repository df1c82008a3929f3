"""Approvals: asked, decided, and the rules about them."""
