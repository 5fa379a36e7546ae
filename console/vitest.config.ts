/** Two kinds of tests: of the parts (`npm run unit`) and of the pages in a browser (`npm run browser`). */

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    projects: [
      { test: { name: "unit", include: ["tests/unit/**/*.test.ts"] } },
      {
        test: {
          name: "browser",
          include: ["tests/browser/**/*.test.ts"],
          testTimeout: 180_000,
          hookTimeout: 120_000,
          // one browser and one federation at a time
          fileParallelism: false,
        },
      },
    ],
  },
});
