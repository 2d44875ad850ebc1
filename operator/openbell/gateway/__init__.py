"""The simulated gateway of Interactive Brokers: TWS's socket protocol in front of a small exchange.

A product of its own. `wire` is the protocol, without a socket; `exchange` with `orders`, `matching`, `accounts`,
`pricing`, `hours` and `contracts` is the world behind it, without a clock; `session` is what one client asked for;
`server` owns the sockets, and `faults` and `scenario` what is to go wrong. Nothing here imports a client library or
another part of Openbell than its domain.
"""
