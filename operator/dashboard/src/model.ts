/** The page's facts and how each message changes them. Pure: a model goes in, a model comes out. */

import type { EquityPoint, Message, Snapshot, Trade, TradeSignal } from "./types";

export const MAX_ROWS = 100;
export const MAX_POINTS = 4000;

export interface Model extends Snapshot {
  seq: number;
  /** The newest time that the server has told, by its own clock (simulated in a replay). */
  time: string;
  lastTrade: Trade | null;
}

export type Applied = { model: Model } | { resync: string };

const signalKey = (s: TradeSignal): string => `${s.strategy}|${s.symbol}|${s.bar_time}|${s.action}`;

/** Put a signal first; one that is known already is replaced. */
export function withSignal(signals: TradeSignal[], signal: TradeSignal): TradeSignal[] {
  const key = signalKey(signal);
  return [signal, ...signals.filter((each) => signalKey(each) !== key)].slice(0, MAX_ROWS);
}

/** Add a point to the line. Times only grow; a second point of one time replaces the first; old ones are thinned. */
export function withEquity(points: EquityPoint[], point: EquityPoint): EquityPoint[] {
  const last = points.at(-1);
  const moment = Date.parse(point.time);
  if (last && Date.parse(last.time) > moment) return points;
  const kept = last && Date.parse(last.time) === moment ? points.slice(0, -1) : points;
  const longer = [...kept, point];
  return longer.length <= MAX_POINTS ? longer : longer.filter((_, index) => index % 2 === 0 || index === longer.length - 1);
}

/** Apply a message. A gap in the numbers, or an event before any snapshot, asks for a new snapshot. */
export function apply(model: Model | null, message: Message): Applied {
  if (message.type === "snapshot") {
    return { model: { ...message.data, seq: message.seq, time: message.time, lastTrade: model?.lastTrade ?? null } };
  }
  if (message.type === "lagged") return { resync: `${message.dropped} events were missed` };
  if (model === null) return { resync: "no snapshot yet" };
  if (message.seq <= model.seq) return { model };
  if (message.seq !== model.seq + 1) return { resync: `events ${model.seq + 1} to ${message.seq - 1} are missing` };
  const next: Model = { ...model, seq: message.seq, time: message.time };
  switch (message.type) {
    case "signal":
      return { model: { ...next, signals: withSignal(model.signals, message.data) } };
    case "trade":
      return { model: { ...next, lastTrade: message.data } };
    case "state":
      return { model: { ...next, status: message.data } };
    case "portfolio": {
      const { time, equity } = message.data;
      const history = equity === null ? model.equity_history : withEquity(model.equity_history, { time, equity });
      return { model: { ...next, portfolio: message.data, equity_history: history } };
    }
  }
}
