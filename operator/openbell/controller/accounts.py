"""Which scheduler owns a broker account: the first that named it; a second one waits at 0 replicas."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

Name = tuple[str, str]
Account = tuple[str, str]
"""Host and account at Interactive Brokers."""


def account_of(spec: dict[str, Any]) -> Account | None:
    """The account that a spec names; the simulated broker's is nobody else's."""
    broker = spec.get("broker") or {}
    ibkr = broker.get("ibkr")
    if broker.get("type") != "IBKR" or not isinstance(ibkr, dict):
        return None
    return str(ibkr.get("host", "")).lower(), str(ibkr.get("account", ""))


@dataclass(slots=True)
class Accounts:
    """Claims on accounts, kept as schedulers come, change and go."""

    _claims: dict[Account, dict[Name, tuple[str, str]]] = field(default_factory=lambda: defaultdict(dict))
    _named: dict[Name, Account] = field(default_factory=dict)

    def claim(self, name: Name, account: Account | None, created: str, uid: str) -> set[Name]:
        """Note what a scheduler names now (None: nothing); the others whose standing may have changed."""
        before = self._named.get(name)
        affected: set[Name] = set()
        if before is not None and before != account:
            del self._named[name]
            self._claims[before].pop(name, None)
            affected |= set(self._claims[before])
            if not self._claims[before]:
                del self._claims[before]
        if account is not None:
            self._named[name] = account
            self._claims[account][name] = (created, uid)
            if before != account:
                affected |= set(self._claims[account]) - {name}
        return affected

    def holder_before(self, name: Name) -> Name | None:
        """The scheduler that has this one's account and came earlier; None when the account is its own."""
        account = self._named.get(name)
        if account is None:
            return None
        claims = self._claims[account]
        first = min(claims, key=lambda each: claims[each])
        return None if first == name else first
