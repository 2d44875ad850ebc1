/** What the API says; see openapi.json. Money is a decimal string, times are ISO 8601 in UTC, null means not known. */

export type State = "running" | "paused" | "stopped";

export interface Stats {
  evaluations_run: number;
  signals_generated: number;
  trades_executed: number;
  trades_rejected: number;
  exits_executed: number;
  errors: number;
  last_evaluation: string | null;
  last_trade: string | null;
}

export interface Condition {
  type: string;
  status: "True" | "False" | "Unknown";
  reason: string;
  message: string;
}

export interface Status {
  name: string;
  namespace: string;
  state: State;
  enabled: boolean;
  paused: boolean;
  why: string;
  mode: "Paper" | "Live";
  broker_type: string;
  market_data: "Broker" | "Synthetic" | "Replay" | "IBKR";
  config: { max_concurrent_trades: number; min_confidence: number; evaluation_interval: number };
  stats: Stats & { monitored_positions: number; uptime_seconds: number };
  can_run: boolean;
  is_market_hours: boolean;
  next_open: string | null;
  next_close: string | null;
  broker_connected: boolean;
  data_age_seconds: number | null;
  leading: boolean;
  epoch: number;
  generation: number;
  observed_generation: number;
  version: string;
  conditions: Condition[];
}

export interface Position {
  position_id: string;
  strategy: string;
  symbol: string;
  quantity: string;
  average_price: string;
  opened_at: string;
  price: string | null;
  stop: string | null;
  target: string | null;
  unrealized_pnl: string | null;
  is_exiting: boolean;
  /** A stop for it rests at the broker. */
  is_protected: boolean;
  /** Whether one is wanted there. */
  broker_side: boolean;
}

export interface Lot {
  quantity: string;
  price: string;
  opened_at: string;
}

export interface HeldPosition extends Position {
  lots: Lot[] | null;
}

export interface Lock {
  lock_id: string;
  scope: "Global" | "Symbol" | "Strategy";
  subject: string;
  reason: string;
  detail: string;
  since: string;
  until: string | null;
  made_by: string;
}

export interface Decision {
  strategy: string;
  symbol: string;
  kind: "Entry" | "Exit";
  reason: string;
  reason_text: string;
  detail: string;
  order_ref: string | null;
  since: string;
  until: string;
  count: number;
}

export interface Portfolio {
  time: string;
  currency: string;
  equity: string | null;
  cash: string | null;
  buying_power: string | null;
  pnl_day: string | null;
  pnl_total: string | null;
  positions: Position[];
}

export interface TradeSignal {
  strategy: string;
  symbol: string;
  action: "Buy" | "Sell" | "Close";
  confidence: number;
  bar_time: string;
  decided_at: string;
  reason: string;
  decision: string;
  decision_text: string;
  detail: string;
}

export interface Order {
  order_ref: string;
  kind: "Entry" | "Exit" | "Protective";
  strategy: string;
  symbol: string;
  side: "Buy" | "Sell";
  quantity: string;
  filled_quantity: string;
  average_price: string | null;
  state: "Intended" | "Doubtful" | "Working" | "Filled" | "Cancelled" | "Rejected" | "Withdrawn";
  reason: string;
  created_at: string;
  detail: string;
}

export interface Trade {
  execution_id: string;
  symbol: string;
  side: "Buy" | "Sell";
  quantity: string;
  price: string;
  time: string;
  reason: string;
  pnl: string | null;
}

export interface Strategy {
  name: string;
  type: string;
  state: State;
  why: string;
  execution: "Trade" | "Shadow";
  symbols: string[];
  stats: Stats;
  open_positions: number;
  realized_pnl: string;
}

export interface EquityPoint {
  time: string;
  equity: string;
}

export interface Replay {
  finished: boolean;
  trades: number;
  digest: string;
}

export interface LogEntry {
  time: string;
  level: string;
  logger: string;
  event: string;
  fields: Record<string, unknown>;
}

export interface Snapshot {
  status: Status;
  portfolio: Portfolio;
  strategies: Strategy[];
  signals: TradeSignal[];
  orders: Order[];
  equity_history: EquityPoint[];
  replay: Replay | null;
}

export type Message =
  | { type: "snapshot"; seq: number; time: string; data: Snapshot }
  | { type: "signal"; seq: number; time: string; data: TradeSignal }
  | { type: "trade"; seq: number; time: string; data: Trade }
  | { type: "portfolio"; seq: number; time: string; data: Portfolio }
  | { type: "state"; seq: number; time: string; data: Status }
  | { type: "lagged"; seq: number; dropped: number };
