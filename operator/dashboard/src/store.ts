/** What the page shows, as signals, and what it may do. */

import { computed, signal } from "@preact/signals";
import { Api, type Ask, type Call, type Outcome } from "./api";
import { duration } from "./format";
import type { Model } from "./model";
import { Pace } from "./pace";
import { Stream, type Connection } from "./stream";
import type { Decision, Lock, LogEntry, Lot, Message, Trade } from "./types";

const POLL_MS = 5000;
const SOON_MS = 1000;
const FRAME_MS = 200;

export const model = signal<Model | null>(null);
export const connection = signal<Connection>({ kind: "connecting" });
export const logs = signal<LogEntry[] | null>(null);
export const locks = signal<Lock[]>([]);
/** The newest of the trail; null: not read yet. What was read stays while it cannot be read again. */
export const decisions = signal<Decision[] | null>(null);
export const trailIsOld = signal(false);
/** Lots by position. */
export const lots = signal<ReadonlyMap<string, Lot[]>>(new Map());
export const logsOpen = signal(true);
/** This machine's time, once a second; only for ages and countdowns. */
export const tick = signal(Date.now());
export const statusReadAt = signal(Date.now());

export type Dialog =
  | { kind: "none" }
  | { kind: "stop" }
  | { kind: "close"; position: string; symbol: string }
  | { kind: "unlock"; lock: Lock }
  | { kind: "token"; ask: Ask; message: string };
export const dialog = signal<Dialog>({ kind: "none" });
export const pending = signal<Call | "close" | "unlock" | null>(null);
export interface Notice {
  tone: "info" | "error";
  text: string;
}
export const notice = signal<Notice | null>(null);

export type Pill = { tone: "good" | "warn" | "bad" | "idle"; text: string };

/** Seconds since the newest data, counted on here between two answers of the server. */
export const dataAge = computed<number | null>(() => {
  const age = model.value?.status.data_age_seconds ?? null;
  return age === null ? null : age + Math.max(0, tick.value - statusReadAt.value) / 1000;
});

export const isStale = computed(
  () => model.value?.status.conditions.some((each) => each.type === "DataFresh" && each.status === "False") ?? false,
);

export function pillOf(link: Connection, facts: Model | null, age: number | null, stale: boolean): Pill {
  if (link.kind === "lost") return { tone: "bad", text: "Disconnected" };
  if (link.kind === "connecting" || facts === null) return { tone: "idle", text: "Connecting" };
  if (!facts.status.broker_connected) return { tone: "bad", text: "Broker disconnected" };
  if (facts.status.market_data === "Replay") return { tone: "good", text: "Connected" }; // its data is old on purpose
  const data = age === null ? "no data yet" : `data ${duration(age)} old`;
  return stale ? { tone: "warn", text: `Stale, ${data}` } : { tone: "good", text: `Connected, ${data}` };
}

export const pill = computed<Pill>(() => pillOf(connection.value, model.value, dataAge.value, isStale.value));

const DONE: Record<Call, string> = { start: "Started", stop: "Stopped", pause: "Paused", resume: "Resumed" };
const ASKED: Record<Call, string> = { start: "Start", stop: "Stop", pause: "Pause", resume: "Resume" };

export function tradeText(trade: Trade): string {
  const verb = trade.side === "Buy" ? "Bought" : "Sold";
  const result = trade.pnl === null ? "" : ` (${Number(trade.pnl) < 0 ? "loss" : "gain"} ${Math.abs(Number(trade.pnl)).toFixed(2)})`;
  return `${verb} ${trade.quantity} ${trade.symbol} at ${trade.price}${result}`;
}

/** What a lock holds back: "all openings", "openings of AAPL". */
export function heldBack(lock: Lock): string {
  if (lock.scope === "Global") return "all openings";
  return lock.scope === "Symbol" ? `openings of ${lock.subject}` : `openings of strategy ${lock.subject}`;
}

/** What a person is told of an answer; null where the token has to be asked for first. */
export function noticeOf(ask: Ask, outcome: Outcome): Notice | null {
  if (outcome.kind === "token-needed") return null;
  if (outcome.kind === "failed") return { tone: "error", text: outcome.message };
  if (outcome.kind === "unlocked") return { tone: "info", text: ask.kind === "unlock" ? `The lock on ${heldBack(ask.lock)} is lifted.` : "Lifted." };
  if (outcome.kind === "closing") return { tone: "info", text: outcome.message };
  const call = ask.kind === "lifecycle" ? ask.call : "stop";
  return outcome.acknowledged
    ? { tone: "info", text: `${DONE[call]}; the runner has acknowledged it.` }
    : { tone: "info", text: `${ASKED[call]} is asked for; the runner has not acknowledged it yet.` };
}

export class Page {
  private readonly stream: Stream;
  /** The facts as of the newest event; shown at a pace that a slow machine keeps up with (a replay sends hundreds). */
  private facts: Model | null = null;
  private readonly show = new Pace(FRAME_MS, () => {
    model.value = this.facts;
  });
  private readonly refreshSoon = new Pace(SOON_MS, () => void this.refresh());
  private noticeTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly api: Api,
    url: string,
  ) {
    this.stream = new Stream(
      url,
      {
        model: () => this.facts,
        onModel: (next, message) => this.take(next, message),
        onConnection: (next) => {
          connection.value = next;
        },
      },
      { open: (address) => new WebSocket(address), now: Date.now, random: Math.random },
    );
  }

  run(): void {
    this.stream.start();
    setInterval(() => {
      tick.value = Date.now();
    }, 1000);
    setInterval(() => void this.refresh(), POLL_MS);
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) {
        this.stream.retryNow();
        void this.refresh();
      }
    });
    window.addEventListener("online", () => this.stream.retryNow());
    void this.refresh();
  }

  retryNow(): void {
    this.stream.retryNow();
  }

  async ask(call: Call): Promise<void> {
    await this.carryOut({ kind: "lifecycle", call });
  }

  async close(position: string, symbol: string): Promise<void> {
    await this.carryOut({ kind: "close", position, symbol });
  }

  async unlock(lock: Lock): Promise<void> {
    await this.carryOut({ kind: "unlock", lock });
  }

  private send(ask: Ask): Promise<Outcome> {
    switch (ask.kind) {
      case "lifecycle":
        return this.api.lifecycle(ask.call);
      case "close":
        return this.api.close(ask.position);
      case "unlock":
        return this.api.unlock(ask.lock.lock_id);
    }
  }

  private async carryOut(ask: Ask): Promise<void> {
    if (pending.value !== null) return;
    dialog.value = { kind: "none" };
    pending.value = ask.kind === "lifecycle" ? ask.call : ask.kind;
    const outcome = await this.send(ask);
    pending.value = null;
    const told = noticeOf(ask, outcome);
    if (told !== null) this.say(told);
    else if (outcome.kind === "token-needed") dialog.value = { kind: "token", ask, message: outcome.message };
    void this.refresh();
  }

  async useToken(token: string, ask: Ask): Promise<void> {
    this.api.setToken(token);
    await this.carryOut(ask);
  }

  dismiss(): void {
    notice.value = null;
  }

  private say(next: Notice): void {
    notice.value = next;
    clearTimeout(this.noticeTimer);
    if (next.tone === "info") this.noticeTimer = setTimeout(() => this.dismiss(), 6000);
  }

  private take(next: Model, message: Message): void {
    this.facts = next;
    this.show.ask();
    if (message.type === "snapshot" || message.type === "state") {
      tick.value = Date.now();
      statusReadAt.value = tick.value;
    }
    if (message.type === "trade" || message.type === "signal" || message.type === "state") {
      this.refreshSoon.ask();
    }
  }

  /** What has no event of its own is asked for: counters, strategies, orders, lots, locks, the trail, a replay's progress, the log. */
  private async refresh(): Promise<void> {
    if (document.hidden || connection.value.kind !== "live") return;
    try {
      const asked = this.facts?.status;
      const [status, strategies, orders, held, holding, trail, lines, replay] = await Promise.all([
        this.api.status(),
        this.api.strategies(),
        this.api.orders(),
        this.api.positions(),
        this.api.locks(),
        this.api.decisions(),
        logsOpen.value ? this.api.logs() : Promise.resolve(logs.value),
        this.facts?.replay ? this.api.replay() : Promise.resolve(null),
      ]);
      const current = this.facts;
      if (current === null) return;
      // A state event may have come meanwhile; it is newer than this answer.
      this.facts = { ...current, strategies, orders, replay, status: current.status === asked ? status : current.status };
      this.show.ask();
      statusReadAt.value = Date.now();
      tick.value = Date.now();
      lots.value = new Map(held.map((each) => [each.position_id, each.lots ?? []]));
      locks.value = holding;
      decisions.value = trail ?? decisions.value;
      trailIsOld.value = trail === null;
      logs.value = lines;
    } catch {
      // The stream notices a lost server by itself and says so; asking again comes with the next round.
    }
  }
}
