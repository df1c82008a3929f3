"""What a call used and what that cost: counts, price lists, own prices, later corrections."""
