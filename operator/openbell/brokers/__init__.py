"""Brokers: adapters that carry intents out and say, in three-valued answers, what came of them."""
