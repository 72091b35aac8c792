//! `comfy-guard ca`: prints the local CA's certificate, for the user to trust.

use std::io::{self, Write};

use clap::Args as ClapArgs;

use crate::cli::settings::settings;
use crate::cli::{Exit, Failure, Global};
use crate::credential::authority::{self, AuthorityError};
use crate::credential::identity::IdentityError;

/// Print the certificate of the guard's own CA (PEM), to be trusted by browsers and clients
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {}

const ADVICE: &str = "Whoever trusts this certificate trusts this guard's address in the browser and in scripts:
  curl:          curl --cacert ca.pem https://...
  Python:        REQUESTS_CA_BUNDLE=ca.pem (requests), SSL_CERT_FILE=ca.pem (httpx, aiohttp)
  Debian/Ubuntu: copy it to /usr/local/share/ca-certificates/comfy-guard.crt and run update-ca-certificates
  Windows/macOS: open it and put it among the trusted root certificates; Firefox: Settings, Certificates, Authorities, Import
Compare the fingerprint before trusting a copy that came over the network.";

/// Carries the command out.
pub(crate) fn run(global: &Global, _: &Args) -> Result<(), Failure> {
    let config = settings(global)?;
    if let Some(pair) = &config.tls.identity {
        let path = pair.certificate.display();
        return Err(Failure::new(
            Exit::Unavailable,
            format!(
                "the guard has no CA of its own: tls.certificate is configured ({path}), and whoever issued it has the CA"
            ),
        ));
    }
    let shown = authority::show(&config.state.directory).map_err(|error| Failure::new(exit_of(&error), error))?;
    io::stdout()
        .write_all(shown.ca_pem.as_bytes())
        .map_err(|error| Failure::new(Exit::CannotCreate, format!("cannot print the certificate: {error}")))?;
    eprintln!("SHA-256 of this CA:             {}", shown.ca_fingerprint);
    if let Some(leaf) = shown.leaf_fingerprint {
        eprintln!("SHA-256 of the certificate now: {leaf}");
    }
    eprintln!("{ADVICE}");
    Ok(())
}

fn exit_of(error: &AuthorityError) -> Exit {
    match error {
        AuthorityError::NoneYet { .. } => Exit::Unavailable,
        AuthorityError::Unreadable(IdentityError::Unreadable { source, .. })
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            Exit::NoPermission
        }
        _ => Exit::NoInput,
    }
}
