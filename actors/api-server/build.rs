//! The console's files are part of this program: a new one makes it new.

#![allow(clippy::print_stdout, reason = "how a build script speaks to cargo")]

fn main() {
    println!("cargo::rerun-if-changed=../../console/dist");
}
