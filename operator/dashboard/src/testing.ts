/** Small factories for tests. */

import type { Model } from "./model";
import type { Lock, Portfolio, Snapshot, Status, TradeSignal } from "./types";

export const status = (changes: Partial<Status> = {}): Status => ({
  name: "quickstart",
  namespace: "default",
  state: "running",
  enabled: true,
  paused: false,
  why: "",
  mode: "Paper",
  broker_type: "Simulated",
  market_data: "Broker",
  config: { max_concurrent_trades: 5, min_confidence: 0.5, evaluation_interval: 60 },
  stats: {
    evaluations_run: 142,
    signals_generated: 23,
    trades_executed: 8,
    trades_rejected: 2,
    exits_executed: 5,
    errors: 0,
    last_evaluation: null,
    last_trade: null,
    monitored_positions: 0,
    uptime_seconds: 10,
  },
  can_run: true,
  is_market_hours: true,
  next_open: null,
  next_close: null,
  broker_connected: true,
  data_age_seconds: 1.4,
  leading: true,
  epoch: 1,
  generation: 1,
  observed_generation: 1,
  version: "0.1.0",
  conditions: [],
  ...changes,
});

export const portfolio = (changes: Partial<Portfolio> = {}): Portfolio => ({
  time: "2024-12-19T14:30:00Z",
  currency: "USD",
  equity: "100000",
  cash: "100000",
  buying_power: "100000",
  pnl_day: "0",
  pnl_total: "0",
  positions: [],
  ...changes,
});

export const tradeSignal = (changes: Partial<TradeSignal> = {}): TradeSignal => ({
  strategy: "momentum-tech",
  symbol: "AAPL",
  action: "Buy",
  confidence: 0.7,
  bar_time: "2024-12-19T14:30:00Z",
  decided_at: "2024-12-19T14:30:01Z",
  reason: "up",
  decision: "ORDERED",
  decision_text: "an order was sent",
  detail: "",
  ...changes,
});

export const lock = (changes: Partial<Lock> = {}): Lock => ({
  lock_id: "k2v7wq4mzt3a",
  scope: "Symbol",
  subject: "AAPL",
  reason: "STOP_LOSS_GUARD",
  detail: "2 losing stops within 3600 s",
  since: "2024-12-19T14:25:00Z",
  until: "2024-12-19T15:25:00Z",
  made_by: "StopLossGuard#0",
  ...changes,
});

export const snapshot = (changes: Partial<Snapshot> = {}): Snapshot => ({
  status: status(),
  portfolio: portfolio(),
  strategies: [],
  signals: [tradeSignal()],
  orders: [],
  equity_history: [{ time: "2024-12-19T14:30:00Z", equity: "100000" }],
  replay: null,
  ...changes,
});

export const model = (changes: Partial<Model> = {}): Model => ({
  ...snapshot(),
  seq: 1,
  time: "2024-12-19T14:30:00Z",
  lastTrade: null,
  ...changes,
});
