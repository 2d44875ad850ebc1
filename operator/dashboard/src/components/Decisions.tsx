import { count, time } from "../format";
import type { Model } from "../model";
import { decisions, trailIsOld } from "../store";
import type { Decision } from "../types";
import { Empty, Panel } from "./Panel";

function Row({ each, present }: { each: Decision; present: string }) {
  return (
    <tr data-testid="decision" data-reason={each.reason} data-symbol={each.symbol}>
      <td class="muted nowrap c-time">{time(each.until, present)}</td>
      <td class="c-symbol">
        <strong>{each.symbol}</strong> <small class="inline">{each.kind === "Exit" ? "position" : "entry"}</small>
        <small>{each.strategy}</small>
      </td>
      <td class="c-decision">
        <span class={each.reason === "ORDERED" ? "gain" : ""}>
          {each.reason_text.charAt(0).toUpperCase() + each.reason_text.slice(1)}
        </span>
        {each.kind === "Exit" && each.order_ref !== null && <span class="tag">ordered</span>}
        {each.detail && <small>{each.detail}</small>}
      </td>
      <td class="number muted nowrap c-since">
        {each.count === 1 ? "once" : `${count(each.count)} times `}
        {each.count > 1 && <small>since {time(each.since, present)}</small>}
      </td>
    </tr>
  );
}

export function Decisions({ model }: { model: Model }) {
  const rows = decisions.value;
  return (
    <Panel
      title="Decisions"
      testid="decisions"
      note={rows !== null && trailIsOld.value ? "As of before: the trail cannot be read now" : "Why something was or was not done"}
    >
      {rows === null ? (
        <Empty testid="decisions-empty">
          {trailIsOld.value ? "The decision trail cannot be read now." : "The decision trail has not been read yet."}
        </Empty>
      ) : rows.length === 0 ? (
        <Empty testid="decisions-empty">Nothing has been decided yet.</Empty>
      ) : (
        <div class="scroll bounded" tabIndex={0} role="region" aria-label="Decisions table, newest first">
          <table class="decisions">
            <thead>
              <tr>
                <th>Time</th>
                <th>Of</th>
                <th>Decision</th>
                <th class="number">In a row</th>
              </tr>
            </thead>
            <tbody>
              {rows.map((each) => (
                <Row each={each} present={model.time} key={`${each.strategy}|${each.symbol}|${each.kind}|${each.since}|${each.reason}`} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}
