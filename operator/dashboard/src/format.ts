/** Numbers and times as people read them. */

const MINUS = "−";
const UNKNOWN = "–";

function signed(text: string, negative: boolean, plus: boolean): string {
  return negative ? MINUS + text : plus ? `+${text}` : text;
}

/** Money of a decimal string with two places: "101,284.55"; with `plus`, gains carry their sign. */
export function money(value: string | null, plus = false): string {
  if (value === null) return UNKNOWN;
  const number = Number(value);
  const text = Math.abs(number).toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  return signed(text, number < 0, plus && number > 0);
}

/** A price: two places, below one dollar up to four. */
export function price(value: string | null): string {
  if (value === null) return UNKNOWN;
  const number = Number(value);
  const places = Math.abs(number) < 1 ? 4 : 2;
  return number.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: places });
}

export function quantity(value: string): string {
  return Math.abs(Number(value)).toLocaleString("en-US", { maximumFractionDigits: 6 });
}

export function count(value: number): string {
  return value.toLocaleString("en-US");
}

/** 1 → "1 error", 2 → "2 errors". */
export function counted(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

export function percent(ratio: number): string {
  return `${Math.round(ratio * 100)} %`;
}

/** 1.4 → "1 s", 95 → "1 min", 8520 → "2 h 22 min", 200000 → "2 d 7 h". */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${Math.floor(hours / 24)} d`;
}

function local(iso: string, present: string, clock: Intl.DateTimeFormatOptions): string {
  const moment = new Date(iso);
  if (moment.toDateString() === new Date(present).toDateString()) return moment.toLocaleTimeString("en-GB", clock);
  const day = moment.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
  return `${day}, ${moment.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" })}`;
}

/** The viewer's local time: "14:30:05" on the server's present day, else "19 Dec 2024, 14:30". */
export function time(iso: string | null, present: string): string {
  return iso === null ? UNKNOWN : local(iso, present, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

/** The same without seconds: "21:00". */
export function minute(iso: string, present: string): string {
  return local(iso, present, { hour: "2-digit", minute: "2-digit" });
}

/** "TRAILING_STOP" → "trailing stop"; sentences stay as they are. */
export function words(reason: string): string {
  return /^[A-Z][A-Z_]+$/.test(reason) ? reason.toLowerCase().replaceAll("_", " ") : reason;
}

/** Where a price stands between stop and target, 0 to 1; null where one of them is not set. */
export function progress(at: string | null, stop: string | null, target: string | null): number | null {
  if (at === null || stop === null || target === null) return null;
  const from = Number(stop);
  const to = Number(target);
  if (from === to) return null;
  return Math.min(1, Math.max(0, (Number(at) - from) / (to - from)));
}

export type Tone = "gain" | "loss" | "flat";

export function tone(value: string | null): Tone {
  const number = value === null ? 0 : Number(value);
  return number > 0 ? "gain" : number < 0 ? "loss" : "flat";
}
