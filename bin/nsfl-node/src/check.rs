//! `check-config`: reads a configuration through all its layers, tries the certificates, prints what is in effect.

use crate::cli::CheckArgs;
use crate::{confine, exit, node};
use nsfl_config::{ClientConfig, ServerConfig, Telemetry, Tls};
use nsfl_transport::Credentials;
use serde_json::Map;

#[allow(clippy::print_stdout, reason = "the command's result")]
pub(crate) fn main(args: &CheckArgs) -> anyhow::Result<()> {
    let file = args.config.as_deref();
    let no_flags = Map::<String, serde_json::Value>::new();
    let wrong = |e: nsfl_config::ConfigError| exit::coded(exit::CONFIG, e.to_string());
    let credentials = if args.role == "server" {
        let config = ServerConfig::load(file, no_flags).map_err(wrong)?;
        print!("{}", config.describe());
        check_collector(&config.telemetry)?;
        server_credentials(&config)?
    } else {
        let config = ClientConfig::load(file, no_flags).map_err(wrong)?;
        print!("{}", config.describe());
        confine::policy(&config)?;
        check_collector(&config.telemetry)?;
        credentials(&config.tls)?
    };
    println!("# certificate: {}", credentials.identity());
    Ok(())
}

fn check_collector(telemetry: &Telemetry) -> anyhow::Result<()> {
    node::collector(telemetry).map_or(Ok(()), |collector| collector.check()).map_err(exit::telemetry)
}

/// The server's credentials, which must be of the federation that is configured.
pub(crate) fn server_credentials(config: &ServerConfig) -> anyhow::Result<Credentials> {
    let credentials = credentials(&config.tls)?;
    let (named, configured) = (&credentials.identity().federation, &config.federation);
    if named != configured {
        let wrong = format!("configuration: federation: is '{configured}', but the certificate is of '{named}'");
        return Err(exit::coded(exit::CONFIG, wrong));
    }
    Ok(credentials)
}

/// The node's credentials; what is wrong with them is a matter of configuration.
pub(crate) fn credentials(tls: &Tls) -> anyhow::Result<Credentials> {
    Credentials::load(&tls.ca, &tls.certificate, &tls.key)
        .map_err(|e| exit::coded(exit::CONFIG, nsfl_actor::Failure::from_error(&e).to_string()))
}
