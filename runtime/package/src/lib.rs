//! Folders of scripts, and what scripts and extenders send each other, as zip files. Packing gives the same bytes for the
//! same content. Looking into a zip and unpacking it trust nothing in it: it is judged as a whole before a byte is
//! written, and what it says of itself is not believed while it is read. Server, client and command line take the same.

mod error;
mod judge;
mod limits;
mod pack;
mod unpack;

pub use error::PackageError;
pub use limits::{Limits, check_name};
pub use pack::{pack_entries, pack_files, pack_folder};
pub use unpack::{Listing, check, unpack};

#[cfg(test)]
mod tests;
