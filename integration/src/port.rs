//! Ports for servers that must be found again after a restart: kept for one test at a time, and never one that the
//! system gives to outgoing connections.

use anyhow::bail;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::net::TcpListener;

/// A port of 127.0.0.1 that no other test has for as long as this lives.
#[derive(Debug)]
pub(crate) struct Port {
    /// Its number.
    pub(crate) number: u16,
    _held: File,
}

/// Below the range of outgoing connections, which begins at 32768 on Linux.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

impl Port {
    /// Takes one.
    ///
    /// # Errors
    /// All are taken.
    pub(crate) fn take() -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join("nsfl-test-ports");
        std::fs::create_dir_all(&folder)?;
        for number in RANGE {
            let held = File::create(folder.join(number.to_string()))?;
            let free = flock(&held, FlockOperation::NonBlockingLockExclusive).is_ok();
            if free && TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Ok(Self { number, _held: held });
            }
        }
        bail!("no port of {RANGE:?} is free")
    }
}
