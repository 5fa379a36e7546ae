//! The daemon, one per machine: composition root of server and client, quickstart, provision.

fn main() {}
