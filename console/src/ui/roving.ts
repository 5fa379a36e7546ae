/** What a key does in a grid or treegrid: where the focus goes, what opens, what closes. Pure. */

export interface Move {
  to?: number;
  toggle?: boolean;
  open?: boolean;
}

interface Level {
  level: number;
  open: boolean | undefined;
}

export function move(
  key: string,
  at: number,
  count: number,
  page: number,
  level?: (at: number) => Level | undefined,
): Move | null {
  const to = (row: number): Move => ({ to: Math.min(count - 1, Math.max(0, row)) });
  switch (key) {
    case "ArrowDown":
      return to(at + 1);
    case "ArrowUp":
      return to(at - 1);
    case "PageDown":
      return to(at + page);
    case "PageUp":
      return to(at - page);
    case "Home":
      return to(0);
    case "End":
      return to(count - 1);
    case "Enter":
    case " ":
      return { open: true };
    case "ArrowRight":
      return level ? right(at, level) : null;
    case "ArrowLeft":
      return level ? left(at, level) : null;
    default:
      return null;
  }
}

/** Opens, else goes to the first below. */
function right(at: number, level: (at: number) => Level | undefined): Move | null {
  const { open } = level(at) ?? { open: undefined };
  if (open === false) return { toggle: true };
  return open ? { to: at + 1 } : null;
}

/** Closes, else goes to the one above it in the tree. */
function left(at: number, level: (at: number) => Level | undefined): Move | null {
  const here = level(at);
  if (here === undefined) return null;
  if (here.open) return { toggle: false };
  for (let above = at - 1; above >= 0; above--) {
    if ((level(above)?.level ?? here.level) < here.level) return { to: above };
  }
  return null;
}
