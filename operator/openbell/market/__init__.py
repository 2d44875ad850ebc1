"""Market data and sessions."""
