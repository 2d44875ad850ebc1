import { beforeEach, expect, test } from "vitest";
import { Api, TOKEN_KEY } from "./api";

const storage = new Map<string, string>();
let requests: { path: string; init: RequestInit | undefined }[];

const api = (answer: () => Response | Promise<Response>) =>
  new Api({
    fetch: async (path, init) => {
      requests.push({ path, init });
      return answer();
    },
    storage: {
      getItem: (key) => storage.get(key) ?? null,
      setItem: (key, value) => void storage.set(key, value),
      removeItem: (key) => void storage.delete(key),
    },
  });

const json = (status: number, body: unknown) => () => new Response(JSON.stringify(body), { status });

beforeEach(() => {
  storage.clear();
  requests = [];
});

test("a call waits for the acknowledgement and passes on what came of it", async () => {
  const made = api(json(202, { status: "success", generation: 8, acknowledged: false }));
  expect(await made.lifecycle("pause")).toMatchObject({ kind: "done", generation: 8, acknowledged: false });
  expect(requests[0]?.path).toBe("/api/scheduler/pause?wait=5");
  expect(requests[0]?.init).toEqual({ method: "POST", headers: {} });
});

test("the token goes along once it is known", async () => {
  const made = api(json(202, { generation: 1, acknowledged: true }));
  made.setToken("t0ken");
  await made.lifecycle("stop");
  expect(requests[0]?.init?.headers).toEqual({ Authorization: "Bearer t0ken" });
});

test("the first 401 asks for the token without blaming anyone", async () => {
  const made = api(json(401, { status: "error", message: "Header Authorization is missing." }));
  expect(await made.lifecycle("pause")).toEqual({ kind: "token-needed", message: "" });
});

test("a wrong token is forgotten, and said to be wrong", async () => {
  const made = api(json(401, { status: "error", message: "The token is not this scheduler's." }));
  made.setToken("wrong");
  expect(await made.lifecycle("pause")).toEqual({ kind: "token-needed", message: "The token is not this scheduler's." });
  expect(storage.has(TOKEN_KEY)).toBe(false);
});

test("the server's own sentence is what a person reads", async () => {
  const made = api(json(503, { status: "error", message: "The API server cannot be reached." }));
  expect(await made.lifecycle("start")).toEqual({ kind: "failed", message: "The API server cannot be reached." });
});

test("an answer that is not ours is named by its status", async () => {
  const made = api(() => new Response("<html>bad gateway</html>", { status: 502 }));
  expect(await made.lifecycle("start")).toEqual({ kind: "failed", message: "The server answered 502." });
});

test("a position is closed by its own id, and the server says what happens", async () => {
  const made = api(json(202, { status: "success", position_id: "p-a/b", message: "AAPL is being closed at the market." }));
  made.setToken("t0ken");
  expect(await made.close("p-a/b")).toEqual({ kind: "closing", message: "AAPL is being closed at the market." });
  expect(requests[0]?.path).toBe("/api/positions/p-a%2Fb/close");
  expect(requests[0]?.init).toEqual({ method: "POST", headers: { Authorization: "Bearer t0ken" } });
});

test("a position that cannot be closed now is left with the server's reason", async () => {
  const made = api(json(409, { status: "error", message: "Position p-a is not closed now: the scheduler is stopped." }));
  expect(await made.close("p-a")).toEqual({
    kind: "failed",
    message: "Position p-a is not closed now: the scheduler is stopped.",
  });
});

test("a lock is lifted by its own id, with the token", async () => {
  const made = api(json(200, { status: "success", lock: {} }));
  made.setToken("t0ken");
  expect(await made.unlock("a/b")).toEqual({ kind: "unlocked" });
  expect(requests[0]?.path).toBe("/api/locks/a%2Fb");
  expect(requests[0]?.init).toEqual({ method: "DELETE", headers: { Authorization: "Bearer t0ken" } });
});

test("a trail that cannot be read is unknown, and anything else is an error", async () => {
  expect(await api(json(200, { decisions: [] })).decisions()).toEqual([]);
  expect(await api(json(503, { message: "the decision trail is closed" })).decisions()).toBeNull();
  await expect(api(json(500, { message: "no" })).decisions()).rejects.toThrow("no");
});

test("no answer at all claims nothing", async () => {
  const made = api(() => Promise.reject(new TypeError("network")));
  expect(await made.lifecycle("stop")).toEqual({
    kind: "failed",
    message: "The server cannot be reached; nothing is known to have changed.",
  });
});

test("a failed read is an error with the server's sentence", async () => {
  await expect(api(json(503, { message: "The journal cannot be read." })).orders()).rejects.toThrow(
    "The journal cannot be read.",
  );
});
