import { describe, expect, test } from "vitest";
import { apply, MAX_POINTS, MAX_ROWS, withEquity, withSignal, type Model } from "./model";
import { portfolio, snapshot, status, tradeSignal } from "./testing";
import type { EquityPoint, Message } from "./types";

const loaded = (seq = 10): Model => {
  const outcome = apply(null, { type: "snapshot", seq, time: "2024-12-19T14:30:00Z", data: snapshot() });
  if (!("model" in outcome)) throw new Error("a snapshot always applies");
  return outcome.model;
};

const after = (model: Model, message: Message): Model => {
  const outcome = apply(model, message);
  if (!("model" in outcome)) throw new Error(outcome.resync);
  return outcome.model;
};

const time = "2024-12-19T14:31:00Z";

describe("events", () => {
  test("a signal comes first and the number moves on", () => {
    const model = after(loaded(), { type: "signal", seq: 11, time, data: tradeSignal({ symbol: "IBM" }) });
    expect(model.signals[0]?.symbol).toBe("IBM");
    expect([model.seq, model.time]).toEqual([11, time]);
  });

  test("an event applied before changes nothing", () => {
    const model = loaded();
    expect(after(model, { type: "signal", seq: 10, time, data: tradeSignal() })).toBe(model);
  });

  test("a gap asks for a new snapshot and says what is missing", () => {
    expect(apply(loaded(), { type: "state", seq: 14, time, data: status() })).toEqual({
      resync: "events 11 to 13 are missing",
    });
  });

  test("a lagged client asks for a new snapshot", () => {
    expect(apply(loaded(), { type: "lagged", seq: 30, dropped: 19 })).toEqual({ resync: "19 events were missed" });
  });

  test("an event before any snapshot is not guessed at", () => {
    expect(apply(null, { type: "state", seq: 1, time, data: status() })).toEqual({ resync: "no snapshot yet" });
  });

  test("a snapshot replaces everything, also with a smaller number after a restart of the runner", () => {
    const outcome = apply(loaded(500), { type: "snapshot", seq: 0, time, data: snapshot({ signals: [] }) });
    expect("model" in outcome && [outcome.model.seq, outcome.model.signals]).toEqual([0, []]);
  });

  test("a state replaces the status alone", () => {
    const before = loaded();
    const model = after(before, { type: "state", seq: 11, time, data: status({ state: "paused" }) });
    expect(model.status.state).toBe("paused");
    expect(model.signals).toBe(before.signals);
  });

  test("a portfolio adds to the equity line, an unknown equity does not", () => {
    const known = after(loaded(), { type: "portfolio", seq: 11, time, data: portfolio({ time, equity: "5.00" }) });
    expect(known.equity_history.at(-1)).toEqual({ time, equity: "5.00" });
    const unknown = after(known, { type: "portfolio", seq: 12, time, data: portfolio({ time, equity: null }) });
    expect(unknown.equity_history).toBe(known.equity_history);
    expect(unknown.portfolio.equity).toBeNull();
  });
});

describe("lists", () => {
  test("the same signal decided again replaces the first", () => {
    const list = withSignal([tradeSignal({ decision: "PAUSED" }), tradeSignal({ symbol: "IBM" })], tradeSignal());
    expect(list.map((each) => [each.symbol, each.decision])).toEqual([
      ["AAPL", "ORDERED"],
      ["IBM", "ORDERED"],
    ]);
  });

  test("signals are bounded", () => {
    let list = [tradeSignal()];
    for (let index = 0; index < 2 * MAX_ROWS; index++) list = withSignal(list, tradeSignal({ symbol: `S${index}` }));
    expect(list.length).toBe(MAX_ROWS);
    expect(list[0]?.symbol).toBe(`S${2 * MAX_ROWS - 1}`);
  });

  test("the equity line only grows in time and keeps both ends when it is thinned", () => {
    const at = (index: number): EquityPoint => ({ time: new Date(index * 1000).toISOString(), equity: String(index) });
    let line: EquityPoint[] = [];
    for (let index = 0; index < 3 * MAX_POINTS; index++) line = withEquity(line, at(index));
    expect(line.length).toBeLessThanOrEqual(MAX_POINTS);
    expect([line[0], line.at(-1)]).toEqual([at(0), at(3 * MAX_POINTS - 1)]);
    expect(withEquity(line, at(5))).toBe(line);
    expect(withEquity(line, { ...at(3 * MAX_POINTS - 1), equity: "7" }).at(-1)?.equity).toBe("7");
  });
});
