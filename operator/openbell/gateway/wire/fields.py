"""Single values as the protocol writes them: numbers, flags, times, and the many ways to leave a number out."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from openbell.gateway.errors import FieldError

UNSET = ""
UNSET_DOUBLE = "1.7976931348623157E308"  # as a real gateway writes a number that it does not know
UNSET_LONG = "9223372036854775807"
# The official client writes the largest number of a type where it has none; the others write nothing.
_LEFT_OUT = frozenset(
    {"", "2147483647", UNSET_LONG, "170141183460469231731687303715884105727"}
    | {"1.7976931348623157e+308", "1.7976931348623157e308"}
)
_NEW_YORK = ZoneInfo("America/New_York")
MAX_DIGITS = 40


def left_out(text: str) -> bool:
    """Whether a number was left out, in any of the ways that clients have."""
    return text.lower() in _LEFT_OUT


def integer(text: str, name: str, default: int = 0) -> int:
    """A whole number; left out, the default. Raises FieldError naming the field."""
    if left_out(text):
        return default
    if len(text) <= MAX_DIGITS and text.isascii():
        try:
            return int(text)
        except ValueError:
            pass
    raise FieldError(f"Unable to parse field: '{name}' with value '{text[:MAX_DIGITS]}'")


def number(text: str, name: str) -> Decimal | None:
    """A number; None where it was left out. Raises FieldError naming the field."""
    if left_out(text):
        return None
    if len(text) <= MAX_DIGITS and text.isascii():
        try:
            value = Decimal(text)
        except InvalidOperation:
            value = Decimal("NaN")
        if value.is_finite() and abs(value.adjusted()) < MAX_DIGITS:
            return value
    raise FieldError(f"Unable to parse field: '{name}' with value '{text[:MAX_DIGITS]}'")


def flag(text: str, name: str) -> bool:
    """A yes or no; left out, no."""
    return integer(text, name) != 0


def show(value: Decimal | float | int | None) -> str:
    """A number as the gateway writes it: plain, without an exponent; nothing for none."""
    if value is None:
        return UNSET_DOUBLE
    if isinstance(value, Decimal):
        plain = format(value.normalize(), "f")
        return "0" if plain == "-0" else plain
    if isinstance(value, float):
        return show(Decimal(repr(value)))
    return str(value)


def whole(value: Decimal | float) -> str:
    """A size for the clients that read sizes as whole numbers."""
    return str(int(value))


def stamp(moment: datetime) -> str:
    """A time as the gateway writes it: 20260926 09:39:22 US/Eastern."""
    return f"{moment.astimezone(_NEW_YORK):%Y%m%d %H:%M:%S} US/Eastern"


def day(moment: datetime) -> str:
    """A day as the gateway writes it."""
    return f"{moment.astimezone(_NEW_YORK):%Y%m%d}"


def moment(text: str, name: str) -> datetime:
    """A time that a client wrote: `YYYYMMDD[ -]HH:MM:SS[ zone]`, in New York's zone unless it says another; with a
    dash in UTC, as the API's documentation has it.
    """
    cleaned = " ".join(text.split())
    parts = cleaned.split(" ")
    try:
        if len(parts) == 1 and "-" in cleaned:
            return datetime.strptime(cleaned, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
        if len(parts) == 1:
            return datetime.strptime(cleaned, "%Y%m%d").replace(tzinfo=_NEW_YORK).astimezone(UTC)
        zone = ZoneInfo(parts[2]) if len(parts) == 3 else _NEW_YORK
        local = datetime.strptime(" ".join(parts[:2]), "%Y%m%d %H:%M:%S").replace(tzinfo=zone)
        return local.astimezone(UTC)
    except (ValueError, OSError, OverflowError, LookupError) as error:
        raise FieldError(f"Unable to parse field: '{name}' with value '{text[:MAX_DIGITS]}'") from error
