/** How the pages are built, served while one works on them, and tested. */

import { defineConfig } from "vite";
import { compressed } from "./compressed.ts";

const server = process.env.NSFL_CTL_SERVER ?? "http://127.0.0.1:8080";

export default defineConfig({
  base: "/console/",
  plugins: [compressed()],
  build: { target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false }, cssCodeSplit: false },
  server: { proxy: { "/api": { target: server, changeOrigin: true } } },
});
