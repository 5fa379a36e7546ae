//! Writing an archive, a file after the other, in memory that does not grow with what is written.

use crate::{FORMAT, HEADER, Header, Link, MANIFEST, Manifest, Stored, is_inside};
use nsfl_types::Digest;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// An archive being written. Without `finish` it is not whole, and its reader says so.
pub struct Archive<W: Write> {
    tar: tar::Builder<W>,
    manifest: Manifest,
}

impl<W: Write> Archive<W> {
    /// Begins an archive with its header.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn begin(out: W, version: &str, created_ms: u64) -> io::Result<Self> {
        let mut archive = Self { tar: tar::Builder::new(out), manifest: Manifest::default() };
        let header = Header { format: FORMAT, version: version.to_owned(), created_ms };
        archive.text(HEADER, &header)?;
        Ok(archive)
    }

    /// Adds a file under a path of the archive.
    ///
    /// # Errors
    /// It cannot be read, or became shorter while it was; those of the output.
    pub fn add(&mut self, path: &str, file: &Path) -> io::Result<()> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
        if !is_inside(path) {
            return Err(named(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("'{path}' has no place in a backup"),
            )));
        }
        let opened = File::open(file).map_err(named)?;
        let about = opened.metadata().map_err(named)?;
        self.entry(path, opened, about.len(), about.permissions().mode() & 0o777).map_err(named)
    }

    /// Has the restored folder hold another name, `path`, for the file `to`.
    pub fn link(&mut self, path: String, to: String) {
        self.manifest.links.push(Link { path, to });
    }

    /// Ends the archive with its manifest. Gives the output, flushed.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> io::Result<W> {
        let manifest = std::mem::take(&mut self.manifest);
        self.text(MANIFEST, &manifest)?;
        let mut out = self.tar.into_inner()?;
        out.flush()?;
        Ok(out)
    }

    fn text(&mut self, path: &str, content: &impl serde::Serialize) -> io::Result<()> {
        let bytes = serde_json::to_vec_pretty(content)?;
        self.entry(path, bytes.as_slice(), bytes.len() as u64, 0o644)
    }

    pub(crate) fn entry(&mut self, path: &str, content: impl Read, bytes: u64, mode: u32) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(mode);
        header.set_mtime(0);
        let mut hashed = Hashed::new(content.take(bytes));
        self.tar.append_data(&mut header, path, &mut hashed)?;
        let (read, sha256) = hashed.end();
        if read != bytes {
            let short = format!("became shorter while it was read: {read} of {bytes} bytes");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, short));
        }
        self.manifest.files.push(Stored { path: path.to_owned(), bytes, sha256 });
        Ok(())
    }
}

/// Counts and hashes what is read through it.
pub(crate) struct Hashed<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
}

impl<R> Hashed<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }

    pub(crate) fn end(self) -> (u64, Digest) {
        (self.bytes, Digest::from_bytes(self.hash.finalize().into()))
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}
