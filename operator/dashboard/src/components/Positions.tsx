import { Fragment } from "preact";
import { minute, money, price, progress, quantity, time, tone } from "../format";
import type { Model } from "../model";
import { dialog, lots, pending } from "../store";
import type { Lot, Position } from "../types";
import { Empty, Panel } from "./Panel";

/** Stop on the left, target on the right, the entry as a tick, the price as a dot. */
function Gauge({ position }: { position: Position }) {
  const { stop, target, price: at, average_price } = position;
  const short = Number(position.quantity) < 0;
  const where = progress(at, stop, target);
  const entry = progress(average_price, stop, target);
  const text = `stop ${stop === null ? "off" : price(stop)}, target ${target === null ? "off" : price(target)}`;
  if (where === null) return <div class="gauge-words">{text}</div>;
  return (
    <div class="gauge" title={text}>
      <span class="gauge-end">
        <span class="visually-hidden">stop </span>
        {price(stop)}
      </span>
      <svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
        <rect x="0" y="4" width="100" height="2" rx="1" class="gauge-track" />
        {entry !== null && <rect x={entry * 100 - 0.6} y="1" width="1.2" height="8" class="gauge-entry" />}
        {entry !== null && (
          <rect
            x={Math.min(where, entry) * 100}
            y="4"
            width={Math.abs(where - entry) * 100}
            height="2"
            class={where >= entry ? "gauge-gain" : "gauge-loss"}
          />
        )}
        <rect x={where * 98} y="2" width="2" height="6" rx="1" class="gauge-dot" />
      </svg>
      <span class="gauge-end">
        <span class="visually-hidden">target{short ? " below" : ""} </span>
        {price(target)}
      </span>
    </div>
  );
}

/** Whether its stop works without us. Said calmly where all is as it is to be. */
function Protection({ each }: { each: Position }) {
  if (each.is_protected) return <small class="protection">stop rests at the broker</small>;
  if (each.is_exiting) return null;
  if (each.broker_side && each.stop !== null) {
    return <small class="protection warn">no stop at the broker yet</small>;
  }
  return <small class="protection">watched by the runner only</small>;
}

const SHOWN_LOTS = 5;

/** What a position was bought in, where that is more than one lot. */
function Lots({ symbol, held, present }: { symbol: string; held: Lot[]; present: string }) {
  const shown = held.slice(0, SHOWN_LOTS).map((lot) => `${quantity(lot.quantity)} at ${price(lot.price)}, ${minute(lot.opened_at, present)}`);
  const more = held.length > SHOWN_LOTS ? ` · and ${held.length - SHOWN_LOTS} more` : "";
  return (
    <tr class="lots" data-testid={`lots-${symbol}`}>
      <td colSpan={8} class="muted">
        {held.length} lots, oldest first: {shown.join(" · ")}
        {more}
      </td>
    </tr>
  );
}

export function Positions({ model }: { model: Model }) {
  const rows = model.portfolio.positions;
  return (
    <Panel title="Positions" testid="positions" note={rows.length ? `${rows.length} open` : undefined}>
      {rows.length === 0 ? (
        <Empty testid="positions-empty">No open positions.</Empty>
      ) : (
        <div class="scroll" tabIndex={0} role="region" aria-label="Positions table">
          <table class="positions">
            <thead>
              <tr>
                <th>Symbol</th>
                <th class="number">Quantity</th>
                <th class="number">Entry</th>
                <th class="number">Price</th>
                <th class="gauge-head">Stop and target</th>
                <th class="number">Gain or loss</th>
                <th class="number wide">Opened</th>
                <th>
                  <span class="visually-hidden">Close</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {rows.map((each) => {
                const held = lots.value.get(each.position_id) ?? [];
                return (
                  <Fragment key={each.position_id}>
                    <tr data-testid={`position-${each.symbol}`}>
                      <td class="c-symbol">
                        <strong>{each.symbol}</strong>
                        {each.is_exiting && <span class="tag">leaving</span>}
                        <small>
                          <span class="visually-hidden">owned by </span>
                          {each.strategy}
                        </small>
                      </td>
                      <td class="number c-quantity">
                        {quantity(each.quantity)} <small>{Number(each.quantity) < 0 ? "short" : "long"}</small>
                      </td>
                      <td class="number c-entry">{price(each.average_price)}</td>
                      <td class="number c-price">{price(each.price)}</td>
                      <td class="c-gauge">
                        <Gauge position={each} />
                        <Protection each={each} />
                      </td>
                      <td class={`number c-pnl ${tone(each.unrealized_pnl)}`}>{money(each.unrealized_pnl, true)}</td>
                      <td class="number wide muted">{time(each.opened_at, model.time)}</td>
                      <td class="c-close">
                        <button
                          type="button"
                          class="button small"
                          data-testid={`close-${each.symbol}`}
                          aria-label={`Close ${each.symbol} of ${each.strategy}`}
                          disabled={pending.value !== null}
                          onClick={() => {
                            dialog.value = { kind: "close", position: each.position_id, symbol: each.symbol };
                          }}
                        >
                          Close
                        </button>
                      </td>
                    </tr>
                    {held.length > 1 && <Lots symbol={each.symbol} held={held} present={model.time} />}
                  </Fragment>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}
