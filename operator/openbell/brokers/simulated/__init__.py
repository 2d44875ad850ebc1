"""The simulated broker: a venue that fills against quotes, with a book of its own that outlives whoever trades."""
