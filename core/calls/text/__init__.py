"""Full-text search in what models saw and said."""
