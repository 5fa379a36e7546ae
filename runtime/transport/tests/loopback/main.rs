//! Server and client over loopback TCP with real certificates, and a proxy that cuts and stalls.
#![allow(clippy::unwrap_used)]

mod blobs;
mod golden;
mod handshake;
mod links;
mod support;
mod swept;
