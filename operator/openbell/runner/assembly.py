"""Builds the broker, the market data and the calendar that a scheduler's spec asks for.

In two steps: the site is there before the journal is open, the ground after it, for the journal says who we are to a
broker's gateway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

from openbell.brokers.base import Broker
from openbell.brokers.ibkr.connection import Connection
from openbell.brokers.ibkr.source import IBKRSource
from openbell.brokers.simulated.adapter import SimulatedBroker
from openbell.brokers.simulated.book import Book
from openbell.brokers.simulated.desk import VenueSettings
from openbell.brokers.simulated.remote import RemoteVenue
from openbell.brokers.simulated.venue import Terms
from openbell.domain.clock import Clock, SimulatedClock, SystemClock
from openbell.domain.errors import ManifestError
from openbell.journal.lock import FolderLock
from openbell.market.base import MarketData
from openbell.market.calendar import SessionCalendar, calendar_for
from openbell.market.recorded import RecordedBars, ReplayMarket, Split
from openbell.market.replay import Armed, ReplayDriver
from openbell.market.synthetic import SyntheticMarket
from openbell.resources.scheduler import SchedulerSpec
from openbell.resources.surroundings import BrokerType, MarketDataType, MarketSpec, ReplaySpec
from openbell.runner.accountbook import Dates
from openbell.runner.control import Control
from openbell.runner.gateway import Client, broker_of, market_of, needs_client, source_of
from openbell.runner.replaying import ReplayResult, identity_of, manifest_of, prepare_folder

BOOK = "venue.db"


@dataclass(frozen=True, slots=True)
class ReplaySite:
    """The recorded bars of a replay, and what has become of it."""

    market: ReplayMarket
    calendar: SessionCalendar
    driver: Callable[[Armed], ReplayDriver]
    clock: SimulatedClock
    result: ReplayResult


@dataclass(frozen=True, slots=True)
class Site:
    """Where a scheduler trades, as far as that is known before the journal is open. `folder` keeps journal and book."""

    folder: Path
    clock: Clock
    replay: ReplaySite | None = None


@dataclass(frozen=True, slots=True)
class ReplayGround:
    """What a replay adds: its stepping, and what it has come to."""

    broker: SimulatedBroker
    clock: SimulatedClock
    driver: Callable[[Armed], ReplayDriver]
    result: ReplayResult


@dataclass(frozen=True, slots=True)
class Ground:
    """Where one scheduler trades; `folder` keeps journal and book."""

    broker: Broker
    market: MarketData
    clock: Clock
    folder: Path
    replay: ReplayGround | None = None
    gateway: Connection | None = None
    source: IBKRSource | None = None


def calendar_of(market: MarketSpec) -> SessionCalendar:
    """The calendar with the resource's own closures and early closes."""
    return calendar_for(
        market.calendar.value,
        [date.fromisoformat(str(day)) for day in market.extra_closures],
        {date.fromisoformat(str(early.date)): early.to_time() for early in market.early_closes},
    )


def dates_of(market: MarketSpec) -> Dates:
    """Trade dates and settlement dates by the same calendar."""
    return Dates(market.calendar.value, calendar_of(market))


def ground_of(control: Control) -> object:
    """What cannot change while a runner runs: when this differs, it starts anew."""
    spec = control.spec
    if spec.market_data.type is MarketDataType.REPLAY:
        return manifest_of(control)
    hours = (spec.market.calendar, spec.market.hours_only, spec.market.extra_closures, spec.market.early_closes)
    return (spec.broker, spec.market_data, spec.mode, hours if needs_client(spec) else None)


def prepare_site(control: Control, *, data: Path, datasets: Iterable[Path], stack: ExitStack) -> Site:
    """Folder and clock. Raises ManifestError for recorded bars that do not exist or do not fit."""
    if control.spec.market_data.type is MarketDataType.REPLAY:
        return _replay_site(control, data, find_dataset(control.spec, datasets), stack)
    data.mkdir(parents=True, exist_ok=True)
    return Site(data, SystemClock())


def build_ground(control: Control, site: Site, *, stack: ExitStack, client: Client | None = None) -> Ground:
    """Everything that the spec asks for. `client` is who we are to a gateway, where the spec needs one.

    Raises ManifestError for what does not fit.
    """
    spec, clock = control.spec, site.clock
    account = f"{control.scheduler.namespace}/{control.scheduler.name}"
    if site.replay is not None:
        return _replay_ground(spec, account, site, site.replay, stack)
    if needs_client(spec):
        if client is None:
            raise ManifestError("a gateway is asked for, and who we are to it is not known")
        if spec.broker.type is BrokerType.IBKR:
            return _ibkr_ground(spec, site, client)
        return _ibkr_data_ground(spec, account, site, client, stack)
    address = spec.broker.simulated.address
    if address:
        host, _, port = address.rpartition(":")
        remote = RemoteVenue(host, int(port), account)
        own = spec.market_data.type is MarketDataType.BROKER
        return Ground(remote, remote if own else _synthetic(spec), clock, site.folder)
    synthetic = _synthetic(spec)
    broker = SimulatedBroker(
        _book(site.folder, stack), synthetic, clock, venue_settings(spec, None, synthetic.has), account=account
    )
    return Ground(broker, synthetic, clock, site.folder)


def _ibkr_ground(spec: SchedulerSpec, site: Site, client: Client) -> Ground:
    broker = broker_of(spec, site.clock, client)
    market = market_of(spec, broker, calendar_of(spec.market))
    return Ground(broker, market, site.clock, site.folder, gateway=broker.connection)


def _ibkr_data_ground(spec: SchedulerSpec, account: str, site: Site, client: Client, stack: ExitStack) -> Ground:
    """Real prices, and fills that are simulated at them, in the hours of the market alone."""
    source, calendar = source_of(spec, site.clock, client), calendar_of(spec.market)
    market = market_of(spec, source, calendar)
    settings = venue_settings(spec, calendar if spec.market.hours_only else None, lambda _: True)
    broker = SimulatedBroker(_book(site.folder, stack), market, site.clock, settings, account=account)
    return Ground(broker, market, site.clock, site.folder, source=source)


def _replay_site(control: Control, data: Path, bars: Path, stack: ExitStack) -> Site:
    spec = control.spec
    replay = _replay(spec)
    calendar = calendar_of(spec.market)
    market = ReplayMarket(RecordedBars.load(bars, calendar, splits_of(replay)))
    start, end = date.fromisoformat(str(replay.from_date)), date.fromisoformat(str(replay.to_date))

    def driver(armed: Armed) -> ReplayDriver:
        return ReplayDriver(market, armed, start=start, end=end)

    clock = SimulatedClock(driver(dict).first_moment)
    root = data / "replay"
    lock = FolderLock(root)
    stack.callback(lock.release)
    folder, result = prepare_folder(root, identity_of(control, bars.read_bytes()))
    return Site(folder, clock, ReplaySite(market, calendar, driver, clock, result))


def _replay_ground(spec: SchedulerSpec, account: str, site: Site, replay: ReplaySite, stack: ExitStack) -> Ground:
    market, clock = replay.market, replay.clock
    settings = venue_settings(spec, replay.calendar, market.has)
    broker = SimulatedBroker(_book(site.folder, stack), market, clock, settings, account=account, polls=False)
    return Ground(broker, market, clock, site.folder, ReplayGround(broker, clock, replay.driver, replay.result))


def splits_of(replay: ReplaySpec) -> tuple[Split, ...]:
    """The splits that a replay lists."""
    return tuple(
        Split(each.symbol, date.fromisoformat(str(each.date)), Decimal(str(each.ratio))) for each in replay.splits
    )


def find_dataset(spec: SchedulerSpec, folders: Iterable[Path]) -> Path:
    """The file of recorded bars, in the first folder that has it. Raises ManifestError that names where it looked."""
    name = _replay(spec).file
    looked = tuple(folders)
    for folder in looked:
        if (folder / name).is_file():
            return folder / name
    raise ManifestError(
        f"spec.marketData.replay.file is {name!r}; there is no such file in {', '.join(str(f) for f in looked)}"
    )


def _replay(spec: SchedulerSpec) -> ReplaySpec:
    if spec.market_data.replay is None:
        raise ManifestError("spec.marketData.replay is required when spec.marketData.type is Replay")
    return spec.market_data.replay


def _synthetic(spec: SchedulerSpec) -> SyntheticMarket:
    synthetic = spec.market_data.synthetic
    start = None if synthetic.start_price is None else float(synthetic.start_price)
    return SyntheticMarket(synthetic.seed, synthetic.volatility, start)


def venue_settings(spec: SchedulerSpec, hours: SessionCalendar | None, trades: Callable[[str], bool]) -> VenueSettings:
    """How the simulated broker trades by this spec."""
    simulated = spec.broker.simulated
    terms = Terms(
        starting_cash=Decimal(simulated.starting_cash),
        spread_bps=simulated.spread_bps,
        slippage_bps=simulated.slippage_bps,
        commission_per_share=Decimal(simulated.commission_per_share),
        minimum_commission=Decimal(simulated.minimum_commission),
        partial_fills=simulated.partial_fills,
    )
    return VenueSettings(seed=simulated.seed, terms=terms, hours=hours, trades=trades)


def _book(folder: Path, stack: ExitStack) -> Book:
    book = Book.open(folder / BOOK)
    stack.callback(book.close)
    return book
