/** Where the pages begin. */

import { render } from "preact";
import { ask } from "./api/session.ts";
import { App } from "./app.tsx";
import { startClock } from "./stores/time.ts";
import "./style/base.css";
import "./style/parts.css";
import "./style/pages.css";

startClock();
void ask();
const root = document.getElementById("console");
if (root !== null) render(<App />, root);
