import { expect, test } from "vitest";
import { counted, duration, money, price, progress, quantity, time, tone, words } from "./format";

test("money has two places, thousands and a real minus sign", () => {
  expect(money("101284.5")).toBe("101,284.50");
  expect(money("-71.94", true)).toBe("−71.94");
  expect(money("60.8", true)).toBe("+60.80");
  expect(money("0", true)).toBe("0.00");
  expect(money(null)).toBe("–");
});

test("prices below a dollar keep four places", () => {
  expect([price("242.8538"), price("0.1234"), price(null)]).toEqual(["242.85", "0.1234", "–"]);
});

test("a quantity is shown without its sign", () => {
  expect([quantity("-1200"), quantity("0.5")]).toEqual(["1,200", "0.5"]);
});

test("durations use the two largest units", () => {
  expect([0.9, 59.9, 60, 3600, 8520, 86400, 200000].map(duration)).toEqual([
    "0 s",
    "59 s",
    "1 min",
    "1 h",
    "2 h 22 min",
    "1 d",
    "2 d 7 h",
  ]);
});

test("a time of another day carries its date", () => {
  const now = new Date(2024, 11, 19, 15, 0, 0).toISOString();
  expect(time(new Date(2024, 11, 19, 14, 30, 5).toISOString(), now)).toBe("14:30:05");
  expect(time(new Date(2024, 11, 18, 14, 30, 5).toISOString(), now)).toBe("18 Dec 2024, 14:30");
  expect(time(null, now)).toBe("–");
});

test("a closed reason becomes words, a sentence stays", () => {
  expect([words("TRAILING_STOP"), words("MA crossed")]).toEqual(["trailing stop", "MA crossed"]);
});

test("one is singular", () => {
  expect([counted(1, "error"), counted(0, "error"), counted(1200, "error")]).toEqual([
    "1 error",
    "0 errors",
    "1,200 errors",
  ]);
});

test("progress runs from stop to target, for short positions too, and never outside", () => {
  expect(progress("15", "10", "20")).toBe(0.5);
  expect(progress("95", "100", "90")).toBe(0.5);
  expect(progress("25", "10", "20")).toBe(1);
  expect(progress("5", "10", "20")).toBe(0);
  expect([progress("5", null, "20"), progress("5", "9", "9")]).toEqual([null, null]);
});

test("a tone is by sign", () => {
  expect([tone("1"), tone("-0.01"), tone("0"), tone(null)]).toEqual(["gain", "loss", "flat", "flat"]);
});
