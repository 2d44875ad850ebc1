/** The WebSocket: connects, connects again with growing pauses, and takes a new snapshot wherever an event is missing. */

import { apply, type Model } from "./model";
import type { Message } from "./types";

export type Connection =
  | { kind: "connecting" }
  | { kind: "live" }
  | { kind: "lost"; since: number; retryAt: number };

export interface StreamEvents {
  /** The facts that the next event is applied to. */
  model(): Model | null;
  onModel(model: Model, message: Message): void;
  onConnection(connection: Connection): void;
}

export interface Surroundings {
  open(url: string): WebSocket;
  now(): number;
  random(): number;
}

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;
const SNAPSHOT_MS = 15_000;
const RESYNC_MS = 250;

/** Milliseconds before attempt n (0 = the first again): doubling, capped, jittered by up to a quarter. */
export function pauseMs(attempt: number, random: number): number {
  const base = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempt);
  return Math.round(base * (0.75 + random * 0.25));
}

export class Stream {
  private socket: WebSocket | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private watchdog: ReturnType<typeof setTimeout> | undefined;
  private attempt = 0;
  private lostSince: number | null = null;
  private closed = false;

  constructor(
    private readonly url: string,
    private readonly events: StreamEvents,
    private readonly around: Surroundings,
  ) {}

  start(): void {
    this.events.onConnection({ kind: "connecting" });
    this.connect();
  }

  stop(): void {
    this.closed = true;
    clearTimeout(this.timer);
    clearTimeout(this.watchdog);
    this.socket?.close();
  }

  /** Try now instead of at the end of the pause. */
  retryNow(): void {
    if (this.socket !== null || this.closed) return;
    clearTimeout(this.timer);
    this.connect();
  }

  private connect(): void {
    const socket = this.around.open(this.url);
    this.socket = socket;
    socket.onmessage = (event) => {
      if (this.socket === socket) this.take(JSON.parse(String(event.data)) as Message);
    };
    socket.onclose = () => {
      if (this.socket === socket) this.lose();
    };
    // A half-open connection gives neither a message nor an end.
    clearTimeout(this.watchdog);
    this.watchdog = setTimeout(() => this.drop(socket), SNAPSHOT_MS);
  }

  private take(message: Message): void {
    const model = this.events.model();
    const outcome = apply(model, message);
    if ("resync" in outcome) {
      // The place in the numbers is lost, the connection is not: a new one starts with a snapshot.
      const old = this.socket;
      this.socket = null;
      old?.close();
      this.timer = setTimeout(() => this.connect(), RESYNC_MS);
      return;
    }
    if (message.type === "snapshot") {
      clearTimeout(this.watchdog);
      this.attempt = 0;
      this.lostSince = null;
      this.events.onConnection({ kind: "live" });
    }
    if (outcome.model !== model) this.events.onModel(outcome.model, message);
  }

  private drop(socket: WebSocket): void {
    if (this.socket !== socket) return;
    socket.close();
    this.lose();
  }

  private lose(): void {
    this.socket = null;
    clearTimeout(this.watchdog);
    if (this.closed) return;
    this.lostSince ??= this.around.now();
    const pause = pauseMs(this.attempt++, this.around.random());
    this.events.onConnection({ kind: "lost", since: this.lostSince, retryAt: this.around.now() + pause });
    this.timer = setTimeout(() => this.connect(), pause);
  }
}
