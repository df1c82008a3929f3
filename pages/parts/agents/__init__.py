"""What the page of agents draws."""
