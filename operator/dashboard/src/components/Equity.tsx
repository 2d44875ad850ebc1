import { AreaSeries, ColorType, createChart, LineStyle, type IChartApi, type ISeriesApi, type UTCTimestamp } from "lightweight-charts";
import { useEffect, useRef } from "preact/hooks";
import { money } from "../format";
import type { EquityPoint } from "../types";

const dark = window.matchMedia("(prefers-color-scheme: dark)");

type Line = { time: UTCTimestamp; value: number }[];

/** One point a second at most; of two in one second the later one. Times in seconds, strictly growing. */
export function lineOf(points: EquityPoint[]): Line {
  const bySecond = new Map<number, number>();
  for (const point of points) bySecond.set(Math.floor(Date.parse(point.time) / 1000), Number(point.equity));
  return [...bySecond].map(([time, value]) => ({ time: time as UTCTimestamp, value }));
}

function paint(chart: IChartApi, series: ISeriesApi<"Area">): void {
  const css = getComputedStyle(document.documentElement);
  const colour = (name: string) => css.getPropertyValue(`--${name}`).trim();
  chart.applyOptions({
    layout: {
      background: { type: ColorType.Solid, color: "transparent" },
      textColor: colour("muted"),
      fontFamily: css.fontFamily,
      fontSize: 11,
    },
    grid: { vertLines: { visible: false }, horzLines: { color: colour("line"), style: LineStyle.Solid } },
    crosshair: {
      vertLine: { color: colour("muted"), labelBackgroundColor: colour("accent-strong") },
      horzLine: { color: colour("muted"), labelBackgroundColor: colour("accent-strong") },
    },
  });
  series.applyOptions({
    lineColor: colour("accent"),
    topColor: colour("area-top"),
    bottomColor: colour("area-bottom"),
    priceLineColor: colour("accent"),
  });
}

export function Equity({ points, currency }: { points: EquityPoint[]; currency: string }) {
  const box = useRef<HTMLDivElement>(null);
  const made = useRef<{ chart: IChartApi; series: ISeriesApi<"Area">; shown: Line } | null>(null);

  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const chart = createChart(element, {
      autoSize: true,
      // It would bring a style of its own, which the page's policy forbids; the footer names the makers.
      layout: { attributionLogo: false },
      rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.12, bottom: 0.08 } },
      timeScale: {
        borderVisible: false,
        timeVisible: true,
        secondsVisible: true,
        allowBoldLabels: false,
        fixLeftEdge: true,
        fixRightEdge: true,
        // The chart draws UTC; people read their own time, as everywhere on this page.
        tickMarkFormatter: (seconds: number, kind: number) => {
          const moment = new Date(seconds * 1000);
          return kind < 3
            ? moment.toLocaleDateString("en-GB", { day: "numeric", month: "short", ...(kind === 0 ? { year: "numeric" } : {}) })
            : moment.toLocaleTimeString("en-GB", {
                hour: "2-digit",
                minute: "2-digit",
                ...(kind === 4 ? { second: "2-digit" } : {}),
              });
        },
      },
      localization: {
        priceFormatter: (value: number) => value.toLocaleString("en-US", { maximumFractionDigits: 0 }),
        timeFormatter: (seconds: number) =>
          new Date(seconds * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }),
      },
      handleScroll: { vertTouchDrag: false },
    });
    const series = chart.addSeries(AreaSeries, { lineWidth: 2, lastValueVisible: true, priceLineVisible: false });
    paint(chart, series);
    made.current = { chart, series, shown: [] };
    const repaint = () => paint(chart, series);
    dark.addEventListener("change", repaint);
    return () => {
      dark.removeEventListener("change", repaint);
      made.current = null;
      chart.remove();
    };
  }, []);

  const line = lineOf(points);
  useEffect(() => {
    const current = made.current;
    if (current === null) return;
    const { series, chart, shown } = current;
    const last = shown.length - 1;
    const grown = last >= 0 && line.length >= shown.length && line[last]?.time === shown[last]?.time && line[0]?.time === shown[0]?.time;
    // A line that only grew at its end costs its new points, not all of them.
    if (grown) for (const point of line.slice(last)) series.update(point);
    else series.setData(line);
    // A person who has zoomed keeps their view; the first line is shown whole.
    if (shown.length < 2) chart.timeScale().fitContent();
    current.shown = line;
  }, [points]);

  const first = points[0];
  const last = points.at(-1);
  const label =
    first && last
      ? `Equity from ${money(first.equity)} to ${money(last.equity)} ${currency}`
      : "No equity has been recorded yet";
  return (
    <div class="chart-frame">
      <div ref={box} class="chart" role="img" aria-label={label} data-testid="equity-chart" data-points={line.length} />
      {line.length < 2 && (
        <p class="empty chart-empty" data-testid="equity-empty">
          The line begins with the first two reports of the account.
        </p>
      )}
    </div>
  );
}
