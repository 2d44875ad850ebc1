import { render } from "preact";
import { Api } from "./api";
import { Dialogs } from "./components/Dialogs";
import { Equity } from "./components/Equity";
import { Alerts, Banner, Header, modeOf } from "./components/Header";
import { Decisions } from "./components/Decisions";
import { Locks } from "./components/Locks";
import { Panel } from "./components/Panel";
import { Activity, Figures, Log, Orders, Signals, Strategies } from "./components/Panels";
import { Positions } from "./components/Positions";
import { connection, model, Page, tradeText } from "./store";

function Body() {
  const facts = model.value;
  if (facts === null) {
    return (
      <p class="empty waiting" data-testid="waiting">
        {connection.value.kind === "lost" ? "The runner cannot be reached." : "Connecting to the runner…"}
      </p>
    );
  }
  const old = connection.value.kind === "lost" ? " old" : "";
  return (
    <main id="main" class={`main${old}`} data-testid="main">
      <Figures model={facts} />
      <Locks model={facts} />
      <Panel title="Equity" testid="equity-panel" class="equity">
        <Equity points={facts.equity_history} currency={facts.portfolio.currency} />
        <Activity model={facts} />
      </Panel>
      <Signals model={facts} />
      <div class="full">
        <Positions model={facts} />
      </div>
      <Orders model={facts} />
      <Strategies model={facts} />
      <div class="full">
        <Decisions model={facts} />
      </div>
      <div class="full">
        <Log model={facts} />
      </div>
    </main>
  );
}

function App({ page }: { page: Page }) {
  const facts = model.value;
  const trade = facts?.lastTrade ?? null;
  document.title = facts ? `${facts.status.name} · ${modeOf(facts).name} · ${facts.status.state}` : "Openbell";
  return (
    <>
      <a class="skip" href="#main">
        Skip to the figures
      </a>
      <Banner model={facts} />
      <div class="page">
        <Header model={facts} page={page} />
        <Alerts model={facts} page={page} />
        <p class="visually-hidden" aria-live="polite" data-testid="last-trade">
          {trade && tradeText(trade)}
        </p>
        <Body />
        <footer class="footer muted">
          <span>Openbell {facts?.status.version}</span>
          {facts && (
            <span data-testid="leadership">
              {facts.status.leading ? "Leading" : "Not leading"}, epoch {facts.status.epoch} · generation{" "}
              {facts.status.observed_generation}
              {facts.status.observed_generation < facts.status.generation && ` of ${facts.status.generation}`}
            </span>
          )}
          <span>
            Charts:{" "}
            <a href="https://www.tradingview.com/" rel="noreferrer">
              TradingView
            </a>{" "}
            Lightweight Charts™
          </span>
        </footer>
      </div>
      <Dialogs page={page} />
    </>
  );
}

const root = document.getElementById("app");
if (root !== null) {
  const api = new Api({ fetch: (path, init) => fetch(path, init), storage: sessionStorage });
  const address = new URL("/ws/v1", location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const page = new Page(api, address.href);
  render(<App page={page} />, root);
  page.run();
}
