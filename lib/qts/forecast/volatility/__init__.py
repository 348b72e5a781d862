"""Models of the next bar's variance, and what it takes to compare them honestly."""
