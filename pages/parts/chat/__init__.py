"""The chat: what is asked, the turns, and what stands around them."""
