//! `check-config`: reads a configuration through all its layers, tries the certificates, prints what is in effect.

use crate::cli::CheckArgs;
use crate::exit;
use nsfl_config::{ClientConfig, ServerConfig, Tls};
use nsfl_transport::Credentials;
use serde_json::Map;

#[allow(clippy::print_stdout, reason = "the command's result")]
pub(crate) fn main(args: &CheckArgs) -> anyhow::Result<()> {
    let file = args.config.as_deref();
    let no_flags = Map::<String, serde_json::Value>::new();
    let wrong = |e: nsfl_config::ConfigError| exit::coded(exit::CONFIG, e.to_string());
    let (described, tls) = if args.role == "server" {
        let config = ServerConfig::load(file, no_flags).map_err(wrong)?;
        (config.describe(), config.tls)
    } else {
        let config = ClientConfig::load(file, no_flags).map_err(wrong)?;
        (config.describe(), config.tls)
    };
    print!("{described}");
    let credentials = credentials(&tls)?;
    println!("# certificate: {}", credentials.identity());
    Ok(())
}

/// The node's credentials; what is wrong with them is a matter of configuration.
pub(crate) fn credentials(tls: &Tls) -> anyhow::Result<Credentials> {
    Credentials::load(&tls.ca, &tls.certificate, &tls.key)
        .map_err(|e| exit::coded(exit::CONFIG, nsfl_actor::Failure::from_error(&e).to_string()))
}
