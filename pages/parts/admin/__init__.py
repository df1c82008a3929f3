"""What the pages of prices, accounts and retention draw."""
