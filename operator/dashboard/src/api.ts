/** Calls of the REST API. The token is kept for this tab's session only. */

import type { Decision, HeldPosition, Lock, LogEntry, Order, Replay, Status, Strategy } from "./types";

export type Call = "start" | "stop" | "pause" | "resume";
/** What a person may ask for with the token: a change of state, one position closed, or one lock lifted. */
export type Ask =
  | { kind: "lifecycle"; call: Call }
  | { kind: "close"; position: string; symbol: string }
  | { kind: "unlock"; lock: Lock };
export type Outcome =
  | { kind: "done"; generation: number | null; acknowledged: boolean }
  | { kind: "closing"; message: string }
  | { kind: "unlocked" }
  | { kind: "token-needed"; message: string }
  | { kind: "failed"; message: string };

export const TOKEN_KEY = "openbell-token";
export const WAIT_SECONDS = 5;

export interface Surroundings {
  fetch(path: string, init?: RequestInit): Promise<Response>;
  storage: Pick<Storage, "getItem" | "setItem" | "removeItem">;
}

async function sentence(response: Response): Promise<string> {
  try {
    const body = (await response.json()) as { message?: unknown };
    if (typeof body.message === "string") return body.message;
  } catch {
    // Something between us and the server answered; its status is all there is to say.
  }
  return `The server answered ${response.status}.`;
}

export class Api {
  constructor(private readonly around: Surroundings) {}

  setToken(token: string): void {
    this.around.storage.setItem(TOKEN_KEY, token);
  }

  async lifecycle(call: Call): Promise<Outcome> {
    return this.write("POST", `/api/scheduler/${call}?wait=${WAIT_SECONDS}`, async (response) => {
      const body = (await response.json()) as { generation: number | null; acknowledged: boolean };
      return { kind: "done", ...body };
    });
  }

  async close(position: string): Promise<Outcome> {
    return this.write("POST", `/api/positions/${encodeURIComponent(position)}/close`, async (response) => {
      const { message } = (await response.json()) as { message: string };
      return { kind: "closing", message };
    });
  }

  async unlock(lock: string): Promise<Outcome> {
    return this.write("DELETE", `/api/locks/${encodeURIComponent(lock)}`, async () => ({ kind: "unlocked" }));
  }

  private async write(method: "POST" | "DELETE", path: string, read: (response: Response) => Promise<Outcome>): Promise<Outcome> {
    const token = this.around.storage.getItem(TOKEN_KEY);
    try {
      const response = await this.around.fetch(path, {
        method,
        headers: token === null ? {} : { Authorization: `Bearer ${token}` },
      });
      if (response.status === 401) {
        this.around.storage.removeItem(TOKEN_KEY);
        return { kind: "token-needed", message: token === null ? "" : await sentence(response) };
      }
      if (!response.ok) return { kind: "failed", message: await sentence(response) };
      return await read(response);
    } catch {
      return { kind: "failed", message: "The server cannot be reached; nothing is known to have changed." };
    }
  }

  async status(): Promise<Status> {
    return this.read<Status>("/api/scheduler/status");
  }

  async strategies(): Promise<Strategy[]> {
    return (await this.read<{ strategies: Strategy[] }>("/api/strategies")).strategies;
  }

  async orders(): Promise<Order[]> {
    return (await this.read<{ orders: Order[] }>("/api/orders?limit=100")).orders;
  }

  async positions(): Promise<HeldPosition[]> {
    return (await this.read<{ positions: HeldPosition[] }>("/api/positions")).positions;
  }

  async locks(): Promise<Lock[]> {
    return (await this.read<{ locks: Lock[] }>("/api/locks")).locks;
  }

  /** The trail is kept apart, and where it cannot be read everything else can: null then. */
  async decisions(): Promise<Decision[] | null> {
    const response = await this.around.fetch("/api/decisions?limit=50");
    if (response.status === 503) return null;
    if (!response.ok) throw new Error(await sentence(response));
    return ((await response.json()) as { decisions: Decision[] }).decisions;
  }

  async replay(): Promise<Replay> {
    return this.read<Replay>("/api/replay");
  }

  async logs(): Promise<LogEntry[]> {
    return (await this.read<{ logs: LogEntry[] }>("/api/logs?lines=100")).logs;
  }

  private async read<T>(path: string): Promise<T> {
    const response = await this.around.fetch(path);
    if (!response.ok) throw new Error(await sentence(response));
    return (await response.json()) as T;
  }
}
