"""The way of replies to one client, with what goes wrong on it. Sans-I/O: replies in, replies to be written out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from openbell.gateway.faults import FaultPlan, Kind
from openbell.gateway.wire.order_reply import OpenOrder
from openbell.gateway.wire.replies import CommissionReport, ExecutionDetails, OrderStatus, Reply

HOLD_SECONDS = 0.2  # that a reordered message waits for one to follow it


class Line:
    """Replies to one client. Nothing comes out of a frozen one."""

    def __init__(self, plan: FaultPlan) -> None:
        self.frozen = False
        self._plan = plan
        self._muted: set[int] = set()
        self._muted_fills: set[str] = set()
        self._held: list[tuple[float, Reply]] = []
        self._late: deque[tuple[float, Reply]] = deque()
        self._slow_until = 0.0
        self._slow_by = 0.0

    def mute(self, order_id: int) -> None:
        """Tell nothing more of an order by itself; what the client asks for is still answered."""
        self._muted.add(order_id)

    def slow(self, now: float, seconds: float) -> None:
        """For `seconds` from now on everything comes that much later."""
        self._slow_until, self._slow_by = now + seconds, seconds

    def answer(self, replies: Iterable[Reply], now: float) -> list[Reply]:
        """What a client asked for."""
        return self._out(list(replies), now)

    def tell(self, replies: Iterable[Reply], now: float) -> list[Reply]:
        """What a client is told of its orders by itself: it may be dropped, doubled or told later."""
        out: list[Reply] = []
        for reply in replies:
            if self._is_muted(reply):
                continue
            of_order = isinstance(reply, OpenOrder | OrderStatus | ExecutionDetails | CommissionReport)
            if of_order and self._plan.strike(Kind.REORDER):
                self._held.append((now + HOLD_SECONDS, reply))
                continue
            out.append(reply)
            if of_order and self._plan.strike(Kind.DUPLICATE):
                out.append(reply)
            out += self._release()
        return self._out(out, now)

    def due(self, now: float) -> list[Reply]:
        """What was held back and has become due."""
        if self._held and self._held[0][0] <= now:
            self._late.extend((now, reply) for reply in self._release())
        out = []
        while self._late and self._late[0][0] <= now:
            out.append(self._late.popleft()[1])
        return [] if self.frozen else out

    def _release(self) -> list[Reply]:
        held, self._held = self._held, []
        return [reply for _, reply in held]

    def _out(self, replies: list[Reply], now: float) -> list[Reply]:
        if self.frozen:
            return []
        if now < self._slow_until:
            self._late.extend((now + self._slow_by, reply) for reply in replies)
            return []
        if self._late:  # nothing overtakes what is late
            last = self._late[-1][0]
            self._late.extend((last, reply) for reply in replies)
            return []
        return replies

    def _is_muted(self, reply: Reply) -> bool:
        match reply:
            case OpenOrder(order):
                return order.order_id in self._muted
            case OrderStatus(order_id):
                return order_id in self._muted
            case ExecutionDetails(order_id=order_id, exec_id=exec_id) if order_id in self._muted:
                self._muted_fills.add(exec_id)
                return True
            case CommissionReport(exec_id):
                return exec_id in self._muted_fills
            case _:
                return False
