import { beforeEach, expect, test } from "vitest";
import { connection, dataAge, heldBack, isStale, model, noticeOf, pillOf, statusReadAt, tick, tradeText } from "./store";
import { lock, model as facts, status } from "./testing";
import type { Trade } from "./types";

const live = { kind: "live" } as const;

beforeEach(() => {
  model.value = null;
  connection.value = { kind: "connecting" };
});

test("the age of data counts on between two answers", () => {
  model.value = facts({ status: status({ data_age_seconds: 1.5 }) });
  statusReadAt.value = 10_000;
  tick.value = 14_000;
  expect(dataAge.value).toBe(5.5);
});

test("a clock that is set back makes data no younger than it was told", () => {
  model.value = facts({ status: status({ data_age_seconds: 3 }) });
  statusReadAt.value = 10_000;
  tick.value = 2000;
  expect(dataAge.value).toBe(3);
});

test("an unknown age stays unknown", () => {
  model.value = facts({ status: status({ data_age_seconds: null }) });
  expect(dataAge.value).toBeNull();
});

test("data is stale when the runner says so, not by a guess here", () => {
  model.value = facts();
  expect(isStale.value).toBe(false);
  const old = { type: "DataFresh", status: "False", reason: "Old", message: "" } as const;
  model.value = facts({ status: status({ conditions: [old] }) });
  expect(isStale.value).toBe(true);
});

test("the pill says the worst thing first", () => {
  const lost = { kind: "lost", since: 0, retryAt: 1 } as const;
  const broken = facts({ status: status({ broker_connected: false }) });
  expect(pillOf(lost, broken, 1, true)).toEqual({ tone: "bad", text: "Disconnected" });
  expect(pillOf({ kind: "connecting" }, null, null, false)).toEqual({ tone: "idle", text: "Connecting" });
  expect(pillOf(live, broken, 1, true)).toEqual({ tone: "bad", text: "Broker disconnected" });
  expect(pillOf(live, facts(), 250, true)).toEqual({ tone: "warn", text: "Stale, data 4 min old" });
  expect(pillOf(live, facts(), 1.9, false)).toEqual({ tone: "good", text: "Connected, data 1 s old" });
  const replay = facts({ status: status({ market_data: "Replay" }) });
  expect(pillOf(live, replay, 700_000_000, true)).toEqual({ tone: "good", text: "Connected" });
  expect(pillOf(live, facts(), null, false)).toEqual({ tone: "good", text: "Connected, no data yet" });
});

test("a trade is told in one sentence", () => {
  const trade: Trade = {
    execution_id: "x",
    symbol: "AAPL",
    side: "Sell",
    quantity: "40",
    price: "249.1",
    time: "2024-12-19T14:30:00Z",
    reason: "",
    pnl: "-51.5",
  };
  expect(tradeText(trade)).toBe("Sold 40 AAPL at 249.1 (loss 51.50)");
  expect(tradeText({ ...trade, side: "Buy", pnl: null })).toBe("Bought 40 AAPL at 249.1");
});

test("a person is told what came of what they asked", () => {
  const pause = { kind: "lifecycle", call: "pause" } as const;
  const close = { kind: "close", position: "p-a", symbol: "AAPL" } as const;
  expect(noticeOf(pause, { kind: "done", generation: 2, acknowledged: true })?.text).toBe(
    "Paused; the runner has acknowledged it.",
  );
  expect(noticeOf(pause, { kind: "done", generation: 2, acknowledged: false })?.text).toBe(
    "Pause is asked for; the runner has not acknowledged it yet.",
  );
  expect(noticeOf(close, { kind: "closing", message: "AAPL is being closed at the market." })).toEqual({
    tone: "info",
    text: "AAPL is being closed at the market.",
  });
  expect(noticeOf({ kind: "unlock", lock: lock() }, { kind: "unlocked" })?.text).toBe("The lock on openings of AAPL is lifted.");
  expect(noticeOf(close, { kind: "failed", message: "Not now." })).toEqual({ tone: "error", text: "Not now." });
  expect(noticeOf(close, { kind: "token-needed", message: "" })).toBeNull();
});

test("a lock says what it holds back", () => {
  expect(heldBack(lock({ scope: "Global", subject: "" }))).toBe("all openings");
  expect(heldBack(lock())).toBe("openings of AAPL");
  expect(heldBack(lock({ scope: "Strategy", subject: "trend" }))).toBe("openings of strategy trend");
});
