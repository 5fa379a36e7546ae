/** What is known of the selected row: beside the rows, or over them on a phone. Escape closes it. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Button } from "./controls.tsx";

interface PanelProps {
  title: string;
  subtitle?: string;
  children: ComponentChildren;
  onClose: () => void;
}

export function Panel({ title, subtitle, children, onClose }: PanelProps) {
  const box = useRef<HTMLElement>(null);
  const before = useRef(document.activeElement);
  useEffect(() => {
    box.current?.focus();
    return () => {
      const element = before.current;
      if (element instanceof HTMLElement && element.isConnected) element.focus();
    };
  }, []);
  return (
    <aside
      className="panel"
      ref={box}
      tabIndex={-1}
      aria-label={title}
      onKeyDown={(event) => {
        if (event.key === "Escape") onClose();
      }}
    >
      <header>
        <div>
          <h2>{title}</h2>
          {subtitle && <p className="faint">{subtitle}</p>}
        </div>
        <Button kind="quiet" sign="close" label="Close" onClick={onClose}>
          {""}
        </Button>
      </header>
      {children}
    </aside>
  );
}
