import { count, counted, duration, minute, money, percent, price, quantity, time, tone, words } from "../format";
import type { Model } from "../model";
import { logs, logsOpen } from "../store";
import type { Order, Strategy, TradeSignal } from "../types";
import { Empty, Panel } from "./Panel";

function Figure({ name, value, note, mood, testid }: { name: string; value: string; note?: string; mood?: string; testid: string }) {
  return (
    <div class="figure">
      <dt>{name}</dt>
      <dd class={mood ?? ""} data-testid={testid}>
        {value}
      </dd>
      {note && <dd class="muted note">{note}</dd>}
    </div>
  );
}

function marketText(model: Model): { value: string; note: string } {
  const { is_market_hours, next_open, next_close } = model.status;
  if (is_market_hours) {
    return next_close === null ? { value: "Always open", note: "" } : { value: "Open", note: `until ${minute(next_close, model.time)}` };
  }
  return { value: "Closed", note: next_open ? `opens ${minute(next_open, model.time)}` : "" };
}

export function Figures({ model }: { model: Model }) {
  const { portfolio, status } = model;
  const market = marketText(model);
  const day = portfolio.pnl_day;
  const equity = portfolio.equity === null ? null : Number(portfolio.equity);
  const dayRatio =
    day !== null && equity !== null && equity !== Number(day) ? (100 * Number(day)) / (equity - Number(day)) : null;
  const share = dayRatio === null ? "" : `${dayRatio < 0 ? "−" : "+"}${Math.abs(dayRatio).toFixed(2)} %`;
  return (
    <dl class="figures">
      <Figure name="Equity" value={money(portfolio.equity)} note={portfolio.currency} testid="equity" />
      <Figure name="Today" value={money(day, true)} note={share} mood={tone(day)} testid="pnl-day" />
      <Figure name="Since start" value={money(portfolio.pnl_total, true)} mood={tone(portfolio.pnl_total)} testid="pnl-total" />
      <Figure name="Cash" value={money(portfolio.cash)} testid="cash" />
      <Figure
        name="Open trades"
        value={`${portfolio.positions.length} of ${status.config.max_concurrent_trades}`}
        testid="open-trades"
      />
      <Figure name="Market" value={market.value} note={market.note} testid="market" />
    </dl>
  );
}

function Decision({ each }: { each: TradeSignal }) {
  const ordered = each.decision === "ORDERED";
  return (
    <p class={ordered ? "decision gain" : "decision"}>
      {ordered ? "Ordered" : each.decision === "SHADOW" ? "Shadow, not ordered" : "Not ordered: "}
      {!ordered && each.decision !== "SHADOW" && each.decision_text}
      {each.detail && <span class="muted"> ({each.detail})</span>}
    </p>
  );
}

export function Signals({ model }: { model: Model }) {
  return (
    <Panel title="Signals" testid="signals" class="tall">
      {model.signals.length === 0 ? (
        <Empty testid="signals-empty">No signals yet. Strategies speak only when their rule is met at the close of a bar.</Empty>
      ) : (
        <ol class="feed scroll" tabIndex={0} aria-label="Signals, newest first">
          {model.signals.map((each) => (
            <li
              key={`${each.strategy}|${each.symbol}|${each.bar_time}|${each.action}`}
              data-testid="signal"
              data-symbol={each.symbol}
              data-decision={each.decision}
            >
              <div class="feed-head">
                <span>
                  <span class={`action action-${each.action.toLowerCase()}`}>{each.action}</span> <strong>{each.symbol}</strong>{" "}
                  <span class="muted" title="confidence">
                    {percent(each.confidence)}
                  </span>
                </span>
                <time class="muted" dateTime={each.decided_at}>
                  {time(each.decided_at, model.time)}
                </time>
              </div>
              <Decision each={each} />
              <p class="muted said">
                {each.strategy}: {each.reason}
              </p>
            </li>
          ))}
        </ol>
      )}
    </Panel>
  );
}

const ORDER_TONE: Partial<Record<Order["state"], string>> = { Filled: "gain", Rejected: "loss", Doubtful: "warn" };

export function Orders({ model }: { model: Model }) {
  const rows = model.orders;
  return (
    <Panel title="Orders" testid="orders">
      {rows.length === 0 ? (
        <Empty testid="orders-empty">No orders yet.</Empty>
      ) : (
        <div class="scroll bounded" tabIndex={0} role="region" aria-label="Orders table">
          <table class="orders">
            <thead>
              <tr>
                <th>Time</th>
                <th>Order</th>
                <th class="number">Filled</th>
                <th class="number">Price</th>
                <th>State</th>
                <th class="wide">Why</th>
              </tr>
            </thead>
            <tbody>
              {rows.map((each) => (
                <tr key={each.order_ref} data-testid={`order-${each.symbol}`} title={each.order_ref}>
                  <td class="muted nowrap c-time">{time(each.created_at, model.time)}</td>
                  <td class="nowrap c-order">
                    <strong>
                      {each.side} {each.symbol}
                    </strong>
                    <small>{each.kind.toLowerCase()}</small>
                  </td>
                  <td class="number nowrap c-filled">
                    {quantity(each.filled_quantity)} <small class="inline">of {quantity(each.quantity)}</small>
                  </td>
                  <td class={`number c-price ${each.average_price === null ? "unknown" : ""}`}>{price(each.average_price)}</td>
                  <td class={`c-state ${ORDER_TONE[each.state] ?? ""}`}>
                    {each.state}
                    {each.detail && <small>{each.detail}</small>}
                  </td>
                  <td class="wide muted">{words(each.reason)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}

function StrategyRow({ each }: { each: Strategy }) {
  const symbols = each.symbols.slice(0, 4).join(", ") + (each.symbols.length > 4 ? ` +${each.symbols.length - 4}` : "");
  return (
    <li data-testid={`strategy-${each.name}`}>
      <div class="feed-head">
        <span>
          <strong>{each.name}</strong>
          {each.execution === "Shadow" && <span class="tag">shadow</span>}
        </span>
        <span class={`chip small chip-${each.state}`}>
          <span class="dot" aria-hidden="true" />
          {each.state}
        </span>
      </div>
      {each.why && <p>{each.why}</p>}
      <p class="muted" title={each.symbols.join(", ")}>
        {each.type} · {symbols}
      </p>
      <p class="counts">
        <span>{counted(each.stats.evaluations_run, "evaluation")}</span>
        <span>{counted(each.stats.signals_generated, "signal")}</span>
        <span>{counted(each.stats.trades_executed, "trade")}</span>
        {each.stats.errors > 0 && <span class="loss">{counted(each.stats.errors, "error")}</span>}
        <span class={tone(each.realized_pnl)}>{money(each.realized_pnl, true)}</span>
      </p>
    </li>
  );
}

export function Strategies({ model }: { model: Model }) {
  return (
    <Panel title="Strategies" testid="strategies" note={model.strategies.length || undefined}>
      {model.strategies.length === 0 ? (
        <Empty testid="strategies-empty">
          No strategies yet. Apply a Strategy that names this scheduler, or POST one to <code>/api/strategies/add</code>.
        </Empty>
      ) : (
        <ul class="feed scroll bounded" tabIndex={0} aria-label="Strategies">
          {model.strategies.map((each) => (
            <StrategyRow each={each} key={each.name} />
          ))}
        </ul>
      )}
    </Panel>
  );
}

export function Activity({ model }: { model: Model }) {
  const { stats } = model.status;
  const entries: [string, string][] = [
    ["Evaluations", count(stats.evaluations_run)],
    ["Signals", count(stats.signals_generated)],
    ["Trades", count(stats.trades_executed)],
    ["Refused", count(stats.trades_rejected)],
    ["Exits", count(stats.exits_executed)],
    ["Errors", count(stats.errors)],
    ["Last evaluation", time(stats.last_evaluation, model.time)],
    ["Last trade", time(stats.last_trade, model.time)],
    ["Up", duration(stats.uptime_seconds)],
  ];
  return (
    <dl class="activity" data-testid="activity">
      {entries.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd data-testid={`stat-${name.toLowerCase().replaceAll(" ", "-")}`}>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function fieldText(fields: Record<string, unknown>): string {
  return Object.entries(fields)
    .map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");
}

export function Log({ model }: { model: Model }) {
  const lines = logs.value;
  return (
    <section class="panel" data-testid="log" aria-label="Log">
      <details
        open={logsOpen.value}
        onToggle={(event) => {
          logsOpen.value = event.currentTarget.open;
        }}
      >
        <summary>
          <h2>Log</h2>
        </summary>
        {lines === null ? (
          <Empty testid="log-empty">The log has not been read yet.</Empty>
        ) : lines.length === 0 ? (
          <Empty testid="log-empty">Nothing has been logged.</Empty>
        ) : (
          <ol class="log scroll" tabIndex={0} aria-label="Log lines, newest first">
            {[...lines].reverse().map((each, index) => (
              <li key={`${each.time}${index}`} class={`log-${each.level}`}>
                <time class="muted">{time(each.time, model.time)}</time> <span class="level">{each.level}</span>{" "}
                <strong>{each.event}</strong> <span class="muted">{fieldText(each.fields)}</span>
              </li>
            ))}
          </ol>
        )}
      </details>
    </section>
  );
}
