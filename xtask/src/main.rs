//! The project's own commands: ci, layers, tidy, bench.

fn main() {}
