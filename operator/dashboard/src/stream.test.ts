import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Model } from "./model";
import { pauseMs, Stream, type Connection } from "./stream";
import { snapshot, tradeSignal } from "./testing";
import type { Message } from "./types";

class FakeSocket {
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: (() => void) | null = null;
  closed = false;
  close(): void {
    this.closed = true;
  }
  say(message: Message): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
}

const time = "2024-12-19T14:30:00Z";
let sockets: FakeSocket[];
let links: Connection[];
let facts: Model | null;
let stream: Stream;

const newest = (): FakeSocket => sockets[sockets.length - 1]!;
const first = (seq = 0): Message => ({ type: "snapshot", seq, time, data: snapshot() });

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
  sockets = [];
  links = [];
  facts = null;
  stream = new Stream(
    "ws://test/ws/v1",
    {
      model: () => facts,
      onModel: (model) => {
        facts = model;
      },
      onConnection: (link) => links.push(link),
    },
    {
      open: () => {
        sockets.push(new FakeSocket());
        return newest() as unknown as WebSocket;
      },
      now: Date.now,
      random: () => 1,
    },
  );
  stream.start();
});

afterEach(() => {
  stream.stop();
  vi.useRealTimers();
});

test("it is live once the snapshot is there, not when the socket opens", () => {
  expect(links).toEqual([{ kind: "connecting" }]);
  newest().say(first());
  expect(links.at(-1)).toEqual({ kind: "live" });
  expect(facts?.seq).toBe(0);
});

test("a lost connection is tried again with growing pauses, and says since when", () => {
  newest().say(first());
  newest().onclose?.();
  expect(links.at(-1)).toEqual({ kind: "lost", since: 1_000_000, retryAt: 1_000_500 });
  vi.advanceTimersByTime(499);
  expect(sockets.length).toBe(1);
  vi.advanceTimersByTime(1);
  expect(sockets.length).toBe(2);
  newest().onclose?.();
  expect(links.at(-1)).toEqual({ kind: "lost", since: 1_000_000, retryAt: 1_001_500 });
  vi.advanceTimersByTime(1000);
  newest().say(first(7));
  expect(links.at(-1)).toEqual({ kind: "live" });
  newest().onclose?.();
  expect(links.at(-1)).toMatchObject({ kind: "lost", retryAt: Date.now() + 500 });
});

test("facts stay in sight while the connection is lost", () => {
  newest().say(first());
  newest().onclose?.();
  expect(facts).not.toBeNull();
});

test("a gap takes a new snapshot on a new connection, without calling it lost", () => {
  newest().say(first(3));
  const old = newest();
  old.say({ type: "signal", seq: 9, time, data: tradeSignal() });
  expect(old.closed).toBe(true);
  old.onclose?.();
  vi.advanceTimersByTime(250);
  expect(sockets.length).toBe(2);
  newest().say(first(12));
  expect(facts?.seq).toBe(12);
  expect(links.map((each) => each.kind)).toEqual(["connecting", "live", "live"]);
});

test("what an abandoned connection still says is ignored", () => {
  newest().say(first(3));
  const old = newest();
  old.say({ type: "lagged", seq: 9, dropped: 5 });
  vi.advanceTimersByTime(250);
  newest().say(first(12));
  old.say(first(1));
  expect(facts?.seq).toBe(12);
});

test("a connection that never gives a snapshot is given up", () => {
  const silent = newest();
  vi.advanceTimersByTime(15_000);
  expect(silent.closed).toBe(true);
  expect(links.at(-1)).toMatchObject({ kind: "lost" });
  vi.advanceTimersByTime(500);
  expect(sockets.length).toBe(2);
});

test("a person need not wait for the pause to end", () => {
  newest().onclose?.();
  stream.retryNow();
  expect(sockets.length).toBe(2);
  vi.advanceTimersByTime(10_000);
  expect(sockets.length).toBe(2);
});

test("a stopped stream stays stopped", () => {
  newest().say(first());
  stream.stop();
  newest().onclose?.();
  stream.retryNow();
  vi.advanceTimersByTime(60_000);
  expect(sockets.length).toBe(1);
});

test("pauses double up to ten seconds and are spread by a quarter", () => {
  expect([0, 1, 2, 10].map((attempt) => pauseMs(attempt, 1))).toEqual([500, 1000, 2000, 10_000]);
  expect(pauseMs(10, 0)).toBe(7500);
});
