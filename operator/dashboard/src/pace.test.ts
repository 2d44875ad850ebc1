import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Pace } from "./pace";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("the first call runs at once and a flood runs once a gap, the last word included", () => {
  let latest = 0;
  const shown: number[] = [];
  const pace = new Pace(200, () => shown.push(latest));
  for (latest = 1; latest <= 1000; latest++) {
    pace.ask();
    vi.advanceTimersByTime(1);
  }
  vi.advanceTimersByTime(1000);
  expect(shown.length).toBe(6);
  expect([shown[0], shown.at(-1)]).toEqual([1, 1000]);
});

test("nothing runs when nothing was asked", () => {
  let runs = 0;
  const pace = new Pace(200, () => runs++);
  pace.ask();
  vi.advanceTimersByTime(5000);
  expect(runs).toBe(1);
});
