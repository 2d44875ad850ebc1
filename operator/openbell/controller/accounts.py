"""Which scheduler owns a broker account: the first that named it; a second one waits at 0 replicas."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Name = tuple[str, str]
Account = tuple[str, str]
"""Host and account at Interactive Brokers. An empty account is whichever the gateway there has."""

_SERVICE = (".svc.cluster.local", ".svc")


def account_of(spec: dict[str, Any], namespace: str) -> Account | None:
    """The account that a spec names; the simulated broker's is nobody else's.

    A host without a dot is a Service of the scheduler's own namespace: elsewhere the same name is another gateway.
    """
    broker = spec.get("broker") or {}
    ibkr = broker.get("ibkr")
    if broker.get("type") != "IBKR" or not isinstance(ibkr, dict):
        return None
    host = str(ibkr.get("host", "")).lower().rstrip(".")
    for suffix in _SERVICE:
        host = host.removesuffix(suffix)
    return host if "." in host else f"{host}.{namespace}", str(ibkr.get("account", ""))


def may_be_one(one: Account, other: Account) -> bool:
    """Whether two schedulers that name these may come to trade one account."""
    return one[0] == other[0] and (one[1] == other[1] or not one[1] or not other[1])


@dataclass(frozen=True, slots=True)
class _Claim:
    account: Account
    created: str
    uid: str

    @property
    def order(self) -> tuple[str, str]:
        return self.created, self.uid


@dataclass(slots=True)
class Accounts:
    """Claims on accounts, kept as schedulers come, change and go."""

    _claims: dict[Name, _Claim] = field(default_factory=dict)

    def claim(self, name: Name, account: Account | None, created: str, uid: str) -> set[Name]:
        """Note what a scheduler names now (None: nothing); the others whose standing may have changed."""
        before = self._claims.pop(name, None)
        affected: set[Name] = set()
        if before is not None and before.account != account:
            affected |= self._rivals(before.account)
        if account is not None:
            if before is None or before.account != account:
                affected |= self._rivals(account)
            self._claims[name] = _Claim(account, created, uid)
        return affected

    def holder_before(self, name: Name) -> Name | None:
        """The scheduler that has this one's account and came earlier; None when the account is its own."""
        own = self._claims.get(name)
        if own is None:
            return None
        earlier = [each for each in self._rivals(own.account) - {name} if self._claims[each].order < own.order]
        return min(earlier, key=lambda each: self._claims[each].order, default=None)

    def _rivals(self, account: Account) -> set[Name]:
        return {name for name, claim in self._claims.items() if may_be_one(claim.account, account)}
