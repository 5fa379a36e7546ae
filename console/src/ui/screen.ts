/** Whether the screen is as narrow as a phone's. */

import { signal } from "@preact/signals";

const media = typeof matchMedia === "undefined" ? null : matchMedia("(max-width: 700px)");

export const narrow = signal(media?.matches ?? false);

media?.addEventListener("change", () => {
  narrow.value = media.matches;
});
