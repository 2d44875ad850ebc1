import { useEffect, useRef } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { quantity } from "../format";
import { dialog, heldBack, model, type Page } from "../store";

function Modal({ label, testid, children }: { label: string; testid: string; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    ref.current?.showModal();
  }, []);
  return (
    <dialog
      ref={ref}
      aria-label={label}
      data-testid={testid}
      onClose={() => {
        dialog.value = { kind: "none" };
      }}
    >
      {children}
    </dialog>
  );
}

const cancel = () => {
  dialog.value = { kind: "none" };
};

function StopDialog({ page }: { page: Page }) {
  const open = model.value?.portfolio.positions.length ?? 0;
  const positions = open === 1 ? "The open position is" : `The ${open} open positions are`;
  return (
    <Modal label="Stop trading" testid="dialog-stop">
      <h2>Stop trading?</h2>
      <p>
        No entries and no exits will be made.{" "}
        {open > 0 && `${positions} kept without being watched, or sold first, as the scheduler’s stop policy says. `}
        To keep exits working, pause instead.
      </p>
      <div class="dialog-buttons">
        <button type="button" class="button" autofocus onClick={cancel}>
          Cancel
        </button>
        <button type="button" class="button danger solid" data-testid="confirm-stop" onClick={() => void page.ask("stop")}>
          Stop trading
        </button>
      </div>
    </Modal>
  );
}

function CloseDialog({ page }: { page: Page }) {
  const asked = dialog.value;
  if (asked.kind !== "close") return null;
  const held = model.value?.portfolio.positions.find((each) => each.position_id === asked.position);
  return (
    <Modal label={`Close ${asked.symbol}`} testid="dialog-close">
      <h2>Close {asked.symbol}?</h2>
      <p>
        {held === undefined
          ? "The position is no longer open."
          : `All of it (${quantity(held.quantity)}) is ${Number(held.quantity) < 0 ? "bought back" : "sold"} at the market, at whatever price that is.`}
      </p>
      <div class="dialog-buttons">
        <button type="button" class="button" autofocus onClick={cancel}>
          Cancel
        </button>
        <button
          type="button"
          class="button danger solid"
          data-testid="confirm-close"
          disabled={held === undefined}
          onClick={() => void page.close(asked.position, asked.symbol)}
        >
          Close position
        </button>
      </div>
    </Modal>
  );
}

function UnlockDialog({ page }: { page: Page }) {
  const asked = dialog.value;
  if (asked.kind !== "unlock") return null;
  const { lock } = asked;
  return (
    <Modal label="Unlock" testid="dialog-unlock">
      <h2>Unlock {heldBack(lock)}?</h2>
      <p>
        They are allowed again at once, as far as nothing else holds them back. The lock was made because: {lock.detail}.
        {lock.reason === "DRAWDOWN" && " The drawdown is measured anew from the equity of now."}
      </p>
      <div class="dialog-buttons">
        <button type="button" class="button" autofocus onClick={cancel}>
          Cancel
        </button>
        <button type="button" class="button danger solid" data-testid="confirm-unlock" onClick={() => void page.unlock(lock)}>
          Unlock
        </button>
      </div>
    </Modal>
  );
}

function TokenDialog({ page }: { page: Page }) {
  const input = useRef<HTMLInputElement>(null);
  const asked = dialog.value;
  if (asked.kind !== "token") return null;
  return (
    <Modal label="API token" testid="dialog-token">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const token = input.current?.value.trim() ?? "";
          if (token) void page.useToken(token, asked.ask);
        }}
      >
        <h2>This needs the API token</h2>
        <p>
          It is in the Secret <code>{model.value?.status.name}-api-token</code>, key <code>token</code>. It is kept in this
          tab only, until the tab is closed.
        </p>
        {asked.message && (
          <p class="loss" data-testid="token-error">
            {asked.message}
          </p>
        )}
        <label>
          Token
          <input ref={input} type="password" autocomplete="off" spellcheck={false} autofocus data-testid="token-input" />
        </label>
        <div class="dialog-buttons">
          <button type="button" class="button" onClick={cancel}>
            Cancel
          </button>
          <button type="submit" class="button primary" data-testid="token-submit">
            Use token
          </button>
        </div>
      </form>
    </Modal>
  );
}

export function Dialogs({ page }: { page: Page }) {
  const { kind } = dialog.value;
  if (kind === "stop") return <StopDialog page={page} />;
  if (kind === "close") return <CloseDialog page={page} />;
  if (kind === "unlock") return <UnlockDialog page={page} />;
  if (kind === "token") return <TokenDialog page={page} />;
  return null;
}
