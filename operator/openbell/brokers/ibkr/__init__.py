"""Interactive Brokers: the Broker protocol on ib_async or ib_insync, whichever of the two is installed."""
