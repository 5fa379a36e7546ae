//! Folders of scripts as zip files. Packing gives the same bytes for the same content: sorted names, fixed times, no
//! links, nothing hidden. Looking into a zip trusts nothing in it. It does not unpack.

mod check;
mod error;
mod pack;

pub use check::{Limits, Listing, check};
pub use error::PackageError;
pub use pack::{pack_entries, pack_folder};

/// A name as it may stand in a package: parts joined by `/`, none empty, `.` or `..`, nothing absolute.
#[must_use]
pub fn is_plain(name: &str) -> bool {
    let part_ok = |part: &str| !part.is_empty() && part != "." && part != "..";
    !name.contains(['\\', '\0', ':']) && name.len() <= 1024 && name.split('/').all(part_ok)
}
