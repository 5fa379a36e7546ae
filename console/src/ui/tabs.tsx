/** Views of the same thing, one at a time (WAI-ARIA tabs): arrows go from one to the next. */

interface TabsProps {
  label: string;
  tabs: readonly (readonly [id: string, title: string])[];
  current: string;
  onChoose: (id: string) => void;
}

export function Tabs({ label, tabs, current, onChoose }: TabsProps) {
  const at = Math.max(
    0,
    tabs.findIndex(([id]) => id === current),
  );
  const onKeyDown = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    const next = tabs[(at + step + tabs.length) % tabs.length];
    if (step === 0 || next === undefined) return;
    event.preventDefault();
    onChoose(next[0]);
    const list = event.currentTarget as HTMLElement;
    list.querySelectorAll<HTMLElement>('[role="tab"]')[tabs.indexOf(next)]?.focus();
  };
  return (
    <div className="tabs" role="tablist" aria-label={label} onKeyDown={onKeyDown}>
      {tabs.map(([id, title], index) => (
        <button
          key={id}
          type="button"
          role="tab"
          aria-selected={index === at}
          tabIndex={index === at ? 0 : -1}
          onClick={() => onChoose(id)}
        >
          {title}
        </button>
      ))}
    </div>
  );
}
