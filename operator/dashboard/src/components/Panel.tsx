import type { ComponentChildren } from "preact";

export function Panel(props: {
  title: string;
  testid: string;
  note?: ComponentChildren;
  class?: string;
  children: ComponentChildren;
}) {
  return (
    <section class={`panel ${props.class ?? ""}`} data-testid={props.testid} aria-label={props.title}>
      <div class="panel-head">
        <h2>{props.title}</h2>
        {props.note !== undefined && <span class="muted">{props.note}</span>}
      </div>
      {props.children}
    </section>
  );
}

export function Empty({ children, testid }: { children: ComponentChildren; testid: string }) {
  return (
    <p class="empty" data-testid={testid}>
      {children}
    </p>
  );
}
