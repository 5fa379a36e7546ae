//! Lines that stay and, on a terminal, one below them that changes.

use rustix::termios::tcgetwinsize;
use std::io::{self, IsTerminal as _, Write};

/// Where the lines go.
pub(crate) struct Screen {
    lines: Box<dyn Write>,
    /// Only where both streams are a terminal: the status would break what is piped.
    live: bool,
    shown: bool,
}

/// Back to the line's beginning, and nothing on it.
const CLEAR: &str = "\r\x1b[K";

impl Screen {
    /// The lines are what was asked for.
    pub(crate) fn result() -> Self {
        let live = io::stdout().is_terminal() && io::stderr().is_terminal();
        Self { lines: Box::new(io::stdout()), live, shown: false }
    }

    /// The lines are talk.
    pub(crate) fn talk() -> Self {
        Self { lines: Box::new(io::stderr()), live: io::stderr().is_terminal(), shown: false }
    }

    /// One line more. A reader that went away ends the program.
    pub(crate) fn line(&mut self, text: &str) {
        self.clear();
        if writeln!(self.lines, "{text}").and_then(|()| self.lines.flush()).is_err() {
            std::process::exit(0);
        }
    }

    /// Another status line, or none.
    pub(crate) fn status(&mut self, text: Option<String>) {
        self.clear();
        let Some(text) = text.filter(|_| self.live) else { return };
        // 0: a terminal that does not know, as inside of `script` or a container
        let known = tcgetwinsize(io::stderr()).ok().map(|size| usize::from(size.ws_col)).filter(|width| *width > 0);
        let cut: String = text.chars().take(known.unwrap_or(80).max(2) - 1).collect();
        let mut out = io::stderr();
        self.shown = write!(out, "{cut}").and_then(|()| out.flush()).is_ok();
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(io::stderr(), "{CLEAR}");
        }
    }
}
