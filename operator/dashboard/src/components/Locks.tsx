import { time, words } from "../format";
import type { Model } from "../model";
import { dialog, heldBack, locks, pending } from "../store";
import type { Lock } from "../types";
import { Panel } from "./Panel";

/** "StopLossGuard#0" → "by StopLossGuard, protection 1"; who is not a protection is named as told. */
function maker(lock: Lock): string {
  const [, name, place] = /^([A-Za-z]+)#(\d+)$/.exec(lock.made_by) ?? [];
  return name === undefined || place === undefined ? `by ${lock.made_by}` : `by ${name}, protection ${Number(place) + 1}`;
}

function Row({ lock, present }: { lock: Lock; present: string }) {
  const what = heldBack(lock);
  return (
    <li data-testid={`lock-${lock.lock_id}`}>
      <div>
        <p>
          <strong>{what.charAt(0).toUpperCase() + what.slice(1)}</strong> are held back{" "}
          {lock.until === null ? "until a person unlocks them" : `until ${time(lock.until, present)}`}
        </p>
        <p class="muted">
          {lock.detail || words(lock.reason)} · since {time(lock.since, present)} {maker(lock)}
        </p>
      </div>
      <button
        type="button"
        class="button small"
        data-testid={`unlock-${lock.lock_id}`}
        aria-label={`Unlock ${what}`}
        disabled={pending.value !== null}
        onClick={() => {
          dialog.value = { kind: "unlock", lock };
        }}
      >
        Unlock
      </button>
    </li>
  );
}

/** Only there while something is locked: there is nothing to say of no locks. */
export function Locks({ model }: { model: Model }) {
  const held = locks.value;
  if (held.length === 0) return null;
  return (
    <div class="full">
      <Panel title="Locks" testid="locks" note={`${held.length} · exits go on`}>
        <ul class="feed scroll locks" tabIndex={0} aria-label="Locks, oldest first">
          {held.map((lock) => (
            <Row lock={lock} present={model.time} key={lock.lock_id} />
          ))}
        </ul>
      </Panel>
    </div>
  );
}
