"""The journal's tables. Decimals are plain text, times are integer microseconds since 1970 UTC.

Tables are STRICT (on SQLite) and every rule that one row can break is a CHECK, so that no path of the code can write
an illegal row. An overfill (more filled than ordered) is no such rule: when a broker does it, it must be booked.

A change here is a new schema version: `openbell.journal.migrations` says how that is made.
"""

from __future__ import annotations

from sqlalchemy import DOUBLE_PRECISION, REAL, Column, Index, Integer, MetaData, Table, Text

from openbell.domain.limits import LockScope
from openbell.domain.orders import IntentKind, IntentState, OrderType, Side, TimeInForce
from openbell.journal.columns import DecimalText, Micros, check, either, is_json, number, one_of
from openbell.journal.migrations import STEPS

SCHEMA_VERSION = 1 + len(STEPS)

metadata = MetaData()

journal = Table(
    "journal",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("schema_version", Integer, nullable=False),
    Column("owner_tag", Text),
    Column("epoch", Integer, nullable=False),
    Column("created_at", Micros, nullable=False),
    check("one_row", "id = 1"),
    check("owner_tag_length", "owner_tag IS NULL OR length(owner_tag) = 8"),
    check("epoch_not_negative", "epoch >= 0"),
    sqlite_strict=True,
)

intents = Table(
    "intents",
    metadata,
    Column("order_ref", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("quantity", DecimalText, nullable=False),
    Column("position_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("bar_time", Micros, nullable=False),
    Column("created_at", Micros, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("reference_price", DecimalText, nullable=False),
    Column("order_type", Text, nullable=False),
    Column("limit_price", DecimalText),
    Column("stop_price", DecimalText),
    Column("time_in_force", Text, nullable=False),
    Column("exits", Text, nullable=False),
    Column("confidence", REAL().with_variant(DOUBLE_PRECISION(), "postgresql"), nullable=False),
    Column("oca_group", Text, nullable=False, server_default=""),
    Column("state", Text, nullable=False),
    Column("filled", DecimalText, nullable=False),
    Column("reported", DecimalText, nullable=False),
    Column("average_price", DecimalText, nullable=False),
    Column("broker_order_id", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("is_open", Integer, nullable=False),
    Column("updated_at", Micros, nullable=False),
    check("order_ref_length", "length(order_ref) BETWEEN 1 AND 32"),
    check("names_given", "length(symbol) > 0 AND length(strategy) > 0 AND length(position_id) > 0"),
    one_of("kind", IntentKind),
    one_of("side", Side),
    one_of("order_type", OrderType),
    one_of("time_in_force", TimeInForce),
    one_of("state", IntentState),
    *number("quantity", "> 0"),
    *number("reference_price", ">= 0"),
    *number("filled", ">= 0"),
    *number("reported", ">= 0"),
    *number("average_price", ">= 0"),
    check("limit_has_price", "(order_type = 'Limit') = (limit_price IS NOT NULL)"),
    check("stop_has_price", "(order_type = 'Stop') = (stop_price IS NOT NULL)"),
    check("epoch_begun", "epoch >= 1"),
    check("confidence_range", "confidence BETWEEN 0 AND 1"),
    check("is_open_flag", "is_open IN (0, 1)"),
    check("working_is_open", "is_open = 1 OR state IN ('Filled', 'Cancelled', 'Rejected', 'Withdrawn')"),
    sqlite_strict=True,
)
Index("intents_open", intents.c.is_open)
Index("intents_created", intents.c.created_at)

positions = Table(
    "positions",
    metadata,
    Column("position_id", Text, primary_key=True),
    Column("strategy", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("quantity", DecimalText, nullable=False),
    Column("average_price", DecimalText, nullable=False),
    Column("opened_at", Micros, nullable=False),
    Column("policy", Text, nullable=False),
    Column("best_price", DecimalText, nullable=False),
    Column("exit_sequence", Integer, nullable=False),
    Column("realized_pnl", DecimalText, nullable=False),
    Column("fees", DecimalText, nullable=False),
    Column("opened_quantity", DecimalText, nullable=False),
    Column("opened_notional", DecimalText, nullable=False),
    Column("closed_notional", DecimalText, nullable=False),
    Column("protection_revision", Integer, nullable=False, server_default="0"),
    Column("is_open", Integer, nullable=False),
    check("names_given", "length(symbol) > 0 AND length(strategy) > 0 AND length(position_id) > 0"),
    *number("quantity"),
    *number("average_price", ">= 0"),
    *number("best_price", ">= 0"),
    *number("realized_pnl"),
    *number("fees"),
    *number("opened_quantity", ">= 0"),
    *number("opened_notional", ">= 0"),
    *number("closed_notional", ">= 0"),
    check("exit_sequence_not_negative", "exit_sequence >= 0"),
    check("protection_revision_not_negative", "protection_revision >= 0"),
    *either(
        "flat_is_closed",
        sqlite="is_open = (CAST(quantity AS REAL) <> 0)",
        postgresql="is_open = CAST(CAST(quantity AS NUMERIC) <> 0 AS INTEGER)",
    ),
    sqlite_strict=True,
)
Index("positions_open", positions.c.is_open)

# A fill needs no intent here: exits go on from memory while the journal cannot be written, and are booked later.
fills = Table(
    "fills",
    metadata,
    Column("execution_id", Text, primary_key=True),
    Column("order_ref", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("quantity", DecimalText, nullable=False),
    Column("price", DecimalText, nullable=False),
    Column("commission", DecimalText, nullable=False),
    Column("time", Micros, nullable=False),
    Column("position_id", Text, nullable=False),
    Column("realized", DecimalText, nullable=False),
    check("execution_id_given", "length(execution_id) > 0"),
    one_of("side", Side),
    *number("quantity", "> 0"),
    *number("price", ">= 0"),
    *number("commission"),
    *number("realized"),
    sqlite_strict=True,
)
Index("fills_time", fills.c.time)
Index("fills_order", fills.c.order_ref)
Index("fills_position", fills.c.position_id)

trades = Table(
    "trades",
    metadata,
    Column("closed_by", Text, primary_key=True),
    Column("position_id", Text, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("quantity", DecimalText, nullable=False),
    Column("entry_time", Micros, nullable=False),
    Column("entry_price", DecimalText, nullable=False),
    Column("exit_time", Micros, nullable=False),
    Column("exit_price", DecimalText, nullable=False),
    Column("exit_reason", Text, nullable=False),
    Column("pnl", DecimalText, nullable=False),
    Column("fees", DecimalText, nullable=False),
    *number("quantity", "<> 0"),
    *number("entry_price", ">= 0"),
    *number("exit_price", ">= 0"),
    *number("pnl"),
    *number("fees"),
    sqlite_strict=True,
)
Index("trades_exit", trades.c.exit_time)

adjustments = Table(
    "adjustments",
    metadata,
    Column("adjustment_id", Text, primary_key=True),
    Column("position_id", Text, nullable=False),
    Column("time", Micros, nullable=False),
    Column("realized", DecimalText, nullable=False),
    Column("ratio", DecimalText),  # new shares for one old, where it is a split
    check("adjustment_id_given", "length(adjustment_id) > 0"),
    *number("realized"),
    *number("ratio", "> 0"),
    sqlite_strict=True,
)

statistics = Table(
    "statistics",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("document", Text, nullable=False),
    check("one_row", "id = 1"),
    *is_json("document"),
    sqlite_strict=True,
)

parameters = Table(
    "parameters",
    metadata,
    Column("strategy", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("updated_at", Micros, nullable=False),
    check("names_given", "length(strategy) > 0 AND length(type) > 0"),
    *is_json("document"),
    sqlite_strict=True,
)

day_starts = Table(
    "day_starts",
    metadata,
    Column("day", Text, primary_key=True),
    Column("equity", DecimalText, nullable=False),
    *either(
        "is_date",
        sqlite="day GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]'",
        postgresql="day ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$'",
    ),
    *number("equity"),
    sqlite_strict=True,
)

locks = Table(
    "locks",
    metadata,
    Column("lock_id", Text, primary_key=True),
    Column("scope", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("since", Micros, nullable=False),
    Column("until", Micros),
    Column("made_by", Text, nullable=False),
    Column("lifted_at", Micros),
    Column("lifted_by", Text, nullable=False),
    check("names_given", "length(lock_id) > 0 AND length(made_by) > 0"),
    one_of("scope", LockScope),
    check("subject_of_scope", "(scope = 'Global') = (subject = '')"),
    check("ends_after_it_begins", "until IS NULL OR until > since"),
    check("lifted_by_someone", "(lifted_at IS NULL) = (lifted_by = '')"),
    sqlite_strict=True,
)

# The highest equity that a drawdown is measured from.
peaks = Table(
    "peaks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("equity", DecimalText, nullable=False),
    Column("since", Micros, nullable=False),
    check("one_row", "id = 1"),
    *number("equity", "> 0"),
    sqlite_strict=True,
)

# What moved a cash account's money beside its fills; the first is what it had when it was first seen.
cash_movements = Table(
    "cash_movements",
    metadata,
    Column("time", Micros, primary_key=True),
    Column("amount", DecimalText, nullable=False),
    Column("settles_on", Text),
    *either(
        "settles_is_date",
        sqlite="settles_on IS NULL OR settles_on GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]'",
        postgresql="settles_on IS NULL OR settles_on ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$'",
    ),
    *number("amount"),
    sqlite_strict=True,
)

# Intraday margin deficits of a margin account, one a day.
deficits = Table(
    "deficits",
    metadata,
    Column("day", Text, primary_key=True),
    Column("amount", DecimalText, nullable=False),
    Column("equity", DecimalText, nullable=False),
    Column("satisfied_on", Text),
    *either(
        "is_date",
        sqlite="day GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]'",
        postgresql="day ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$'",
    ),
    *either(
        "satisfied_is_date",
        sqlite="satisfied_on IS NULL OR satisfied_on GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]'",
        postgresql="satisfied_on IS NULL OR satisfied_on ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$'",
    ),
    *number("amount", "> 0"),
    *number("equity"),
    sqlite_strict=True,
)

# Who we are to a gateway of Interactive Brokers: the id of our connections, which stays the same for good, and the
# highest order id that any of them may have used.
gateway_client = Table(
    "gateway_client",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("client_id", Integer, nullable=False),
    Column("order_id", Integer, nullable=False),
    check("one_row", "id = 1"),
    check("client_id_range", "client_id BETWEEN 1 AND 2147483647"),
    check("order_id_range", "order_id BETWEEN 0 AND 2147483647"),
    sqlite_strict=True,
)
