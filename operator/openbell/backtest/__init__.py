"""A backtest: the decisions that trade live, over history, on a simulated clock, without a journal."""
