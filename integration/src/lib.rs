//! Tests and harness on real processes.
