/** A page that fails takes nothing else with it, and says why. */

import { Component, type ComponentChildren } from "preact";
import { sentence } from "../api/http.ts";
import { Button } from "./controls.tsx";
import { Problem } from "./dialog.tsx";

export class Boundary extends Component<{ children: ComponentChildren }, { failed: unknown }> {
  override state: { failed: unknown } = { failed: undefined };

  static override getDerivedStateFromError(failed: unknown) {
    return { failed };
  }

  override render() {
    const { failed } = this.state;
    if (failed === undefined) return this.props.children;
    return (
      <section className="page">
        <h1>This page cannot be shown</h1>
        <Problem>{sentence(failed)}</Problem>
        <p>
          <Button onClick={() => this.setState({ failed: undefined })}>Try again</Button>
        </p>
      </section>
    );
  }
}
