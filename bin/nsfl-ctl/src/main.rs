//! The command line: talks REST and nothing else.

fn main() {}
