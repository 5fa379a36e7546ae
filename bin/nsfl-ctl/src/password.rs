//! Asks for a password on the terminal without showing it; from a pipe, the first line is read.

use crate::fault::Fault;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::io::{self, IsTerminal as _, Write as _};

/// The password as typed, without its line end.
pub(crate) fn ask(user: &str) -> Result<String, Fault> {
    let stdin = io::stdin();
    let hidden = if stdin.is_terminal() {
        let _ = write!(io::stderr(), "password of {user}: ").and_then(|()| io::stderr().flush());
        Some(Hidden::new()?)
    } else {
        None
    };
    let mut line = String::new();
    stdin.read_line(&mut line).map_err(|e| Fault::Usage(format!("the password cannot be read: {e}")))?;
    if hidden.is_some() {
        let _ = writeln!(io::stderr());
    }
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// The terminal does not show what is typed while this lives.
struct Hidden(rustix::termios::Termios);

impl Hidden {
    fn new() -> Result<Self, Fault> {
        let failed = |e: rustix::io::Errno| Fault::Usage(format!("the terminal cannot hide a password: {e}"));
        let before = tcgetattr(io::stdin()).map_err(failed)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet).map_err(failed)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
