/**
 * Puts `name.gz` beside what is built and says what a browser downloads. Packed by a library, not by this machine's zlib: the
 * same bytes everywhere.
 */

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "fflate";
import type { Plugin } from "vite";

/** All pages together, as they go over the wire. */
const MOST_BYTES = 300 * 1024;

export function compressed(): Plugin {
  let folder = "";
  return {
    name: "compressed",
    apply: "build",
    configResolved(config) {
      folder = join(config.root, config.build.outDir);
    },
    closeBundle() {
      const files = readdirSync(folder, { recursive: true, encoding: "utf8" });
      let total = 0;
      for (const file of files.filter((name) => /\.(js|css|html|svg)$/.test(name))) {
        const packed = gzipSync(readFileSync(join(folder, file)), { level: 9, mtime: 0 });
        total += packed.length;
        writeFileSync(join(folder, `${file}.gz`), packed);
      }
      this.info(`${(total / 1024).toFixed(1)} KiB compressed, at most ${MOST_BYTES / 1024}`);
      if (total > MOST_BYTES) this.error(`the pages are ${total} bytes compressed, at most ${MOST_BYTES}`);
    },
  };
}
