import type { Call } from "../api";
import { counted, duration, time } from "../format";
import type { Model } from "../model";
import { connection, dialog, notice, pending, pill, tick, type Page } from "../store";

const STATE_TEXT = { running: "Running", paused: "Paused", stopped: "Stopped" } as const;

export function modeOf(model: Model): { key: "paper" | "live" | "replay"; name: string; text: string } {
  const { mode, market_data } = model.status;
  if (market_data === "Replay") return { key: "replay", name: "REPLAY", text: "Recorded bars, simulated fills" };
  if (mode === "Live") return { key: "live", name: "LIVE", text: "Real orders, real money" };
  return { key: "paper", name: "PAPER", text: "Simulated money, no real orders" };
}

export function Banner({ model }: { model: Model | null }) {
  if (model === null) return <div class="banner banner-none" data-testid="banner" />;
  const mode = modeOf(model);
  const replay = model.replay;
  return (
    <div class={`banner banner-${mode.key}`} data-testid="banner" role="note">
      <strong>{mode.name}</strong>
      <span>{mode.text}</span>
      {replay && (
        <span class="banner-end" data-testid="replay">
          {replay.finished ? "Finished" : "Running"} · {counted(replay.trades, "trade")} · <code title={replay.digest}>{replay.digest.slice(0, 19)}</code>
        </span>
      )}
    </div>
  );
}

function Control({ call, text, busy, page, kind }: { call: Call; text: string; busy: string; page: Page; kind: string }) {
  const press = () => {
    if (call === "stop") dialog.value = { kind: "stop" };
    else void page.ask(call);
  };
  return (
    <button
      type="button"
      class={`button ${kind}`}
      data-testid={`button-${call}`}
      disabled={pending.value !== null || connection.value.kind !== "live"}
      onClick={press}
    >
      {pending.value === call ? busy : text}
    </button>
  );
}

export function Header({ model, page }: { model: Model | null; page: Page }) {
  const status = model?.status;
  const link = pill.value;
  return (
    <header class="header">
      <div class="identity">
        <svg class="bell" viewBox="0 0 32 32" aria-hidden="true">
          <path d="M16 4a8 8 0 0 1 8 8v6l2.5 4h-21L8 18v-6a8 8 0 0 1 8-8z" />
          <path d="M12.5 24.5h7a3.5 3.5 0 0 1-7 0z" />
        </svg>
        <div>
          <h1 data-testid="scheduler-name">{status?.name ?? "Openbell"}</h1>
          <p class="muted">{status ? `${status.namespace} · ${status.broker_type} broker` : "Trading scheduler"}</p>
        </div>
      </div>
      {status && (
        <div class="state">
          <span class={`chip chip-${status.state}`} data-testid="state">
            <span class="dot" aria-hidden="true" />
            {STATE_TEXT[status.state]}
          </span>
          <span class="why" data-testid="why">
            {status.why}
          </span>
        </div>
      )}
      <div class="actions">
        <span class={`pill pill-${link.tone}`} data-testid="connection" role="status">
          <span class="dot" aria-hidden="true" />
          {link.text}
        </span>
        {status && (
          <div class="buttons" role="group" aria-label="Scheduler">
            {status.state === "stopped" ? (
              <Control call="start" text="Start" busy="Starting…" page={page} kind="primary" />
            ) : status.paused ? (
              <Control call="resume" text="Resume" busy="Resuming…" page={page} kind="primary" />
            ) : (
              <Control call="pause" text="Pause" busy="Pausing…" page={page} kind="" />
            )}
            {status.state === "stopped" && status.paused && (
              <Control call="resume" text="Resume" busy="Resuming…" page={page} kind="" />
            )}
            {status.state !== "stopped" && <Control call="stop" text="Stop" busy="Stopping…" page={page} kind="danger" />}
          </div>
        )}
      </div>
    </header>
  );
}

/** Conditions that a person must see, with the status that is bad and what that means in words. */
const ALARMS: Record<string, { bad: "True" | "False"; tone: "warn" | "bad"; text: string }> = {
  UnmonitoredPositions: { bad: "True", tone: "bad", text: "Positions are not watched" },
  Degraded: { bad: "True", tone: "bad", text: "Degraded" },
  BrokerConnected: { bad: "False", tone: "bad", text: "The broker is not connected" },
  BrokerInSync: { bad: "False", tone: "warn", text: "Not in sync with the broker" },
  RunnerLeading: { bad: "False", tone: "warn", text: "Not leading" },
  DataFresh: { bad: "False", tone: "warn", text: "Data is stale" },
};

export function Alerts({ model, page }: { model: Model | null; page: Page }) {
  const link = connection.value;
  const said = notice.value;
  const bad = (model?.status.conditions ?? []).flatMap((each) => {
    const alarm = ALARMS[each.type];
    return alarm !== undefined && alarm.bad === each.status ? [{ ...each, alarm }] : [];
  });
  return (
    <div class="alerts" aria-live="polite">
      {link.kind === "lost" && (
        <div class="alert alert-bad" data-testid="disconnected" role="alert">
          <span>
            <strong>Disconnected</strong> since {time(new Date(link.since).toISOString(), new Date(tick.value).toISOString())}.{" "}
            {model ? "What you see is from before. " : ""}
            Trying again {link.retryAt > tick.value ? `in ${duration((link.retryAt - tick.value) / 1000 + 1)}` : "now"}.
          </span>
          <button type="button" class="button small" data-testid="button-retry" onClick={() => page.retryNow()}>
            Try now
          </button>
        </div>
      )}
      {bad.map((each) => (
        <div class={`alert alert-${each.alarm.tone}`} key={each.type} data-testid={`condition-${each.type}`}>
          <span>
            <strong>{each.alarm.text}</strong>: {each.message || each.reason}
          </span>
        </div>
      ))}
      {said && (
        <div class={`alert ${said.tone === "error" ? "alert-bad" : "alert-info"}`} data-testid="notice">
          <span>{said.text}</span>
          <button type="button" class="button small" onClick={() => page.dismiss()}>
            Close
          </button>
        </div>
      )}
    </div>
  );
}
