//! `provision`: a federation's authority and certificates, kept with the right permissions. No password anywhere.

use crate::cli::ProvisionArgs;
use anyhow::{Context as _, bail};
use nsfl_transport::provision::{Authority, PemPair, Validity, write_private};
use std::path::{Path, PathBuf};
use time::OffsetDateTime;

/// Days a new authority holds.
const AUTHORITY_DAYS: i64 = 3650;

/// Files of one node: certificate and key.
pub(crate) struct NodeFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

#[allow(clippy::print_stdout, reason = "the command's result")]
pub(crate) fn main(args: ProvisionArgs) -> anyhow::Result<()> {
    if args.server.is_empty() && args.client.is_empty() && args.dir.join("ca.crt").exists() {
        bail!("nothing to do: give --server NAME or --client ID (the authority in {} exists)", args.dir.display());
    }
    for made in provision(&args)? {
        println!("{}", made.certificate.display());
        println!("{}", made.key.display());
    }
    println!("{}", args.dir.join("ca.crt").display());
    Ok(())
}

/// Makes what is asked for and does not exist; an existing certificate is refused, never overwritten.
pub(crate) fn provision(args: &ProvisionArgs) -> anyhow::Result<Vec<NodeFiles>> {
    let now = OffsetDateTime::now_utc();
    let authority = authority(&args.dir, &args.federation, now)?;
    let validity = Validity::days(now, i64::from(args.days));
    let mut made = Vec::new();
    for name in &args.server {
        made.push(write(&args.dir, name.as_str(), &authority.issue_server(name, validity)?)?);
    }
    for id in &args.client {
        made.push(write(&args.dir, id.as_str(), &authority.issue_client(id, validity)?)?);
    }
    Ok(made)
}

fn authority(dir: &Path, federation: &str, now: OffsetDateTime) -> anyhow::Result<Authority> {
    let (certificate, key) = (dir.join("ca.crt"), dir.join("ca.key"));
    if certificate.exists() {
        let read = |path: &Path| {
            std::fs::read_to_string(path).with_context(|| format!("cannot read the authority's {}", path.display()))
        };
        return Ok(Authority::load(&read(&certificate)?, &read(&key)?)?);
    }
    let authority = Authority::create(federation, Validity::days(now, AUTHORITY_DAYS))?;
    write_private(&key, &authority.pem().key)?;
    write_private(&certificate, &authority.pem().certificate)?;
    Ok(authority)
}

fn write(dir: &Path, name: &str, pair: &PemPair) -> anyhow::Result<NodeFiles> {
    let files = NodeFiles { certificate: dir.join(format!("{name}.crt")), key: dir.join(format!("{name}.key")) };
    if files.certificate.exists() {
        bail!("{} exists: choose another name, or remove it to make a new one", files.certificate.display());
    }
    write_private(&files.key, &pair.key)?;
    write_private(&files.certificate, &pair.certificate)?;
    Ok(files)
}
