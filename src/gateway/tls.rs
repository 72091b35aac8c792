//! TLS (RFC 8446, RFC 5246): rustls with aws-lc, 1.3 and 1.2, the post-quantum hybrid first, `h2` and `http/1.1` by ALPN.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::wire::message::TlsIdentity;

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// The private key cannot be read.
    #[error("the private key cannot be read: {0}")]
    Key(rustls_pki_types::pem::Error),
    /// rustls does not take it.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// The configuration for new connections.
pub(crate) fn server_config(identity: &TlsIdentity) -> Result<ServerConfig, TlsError> {
    let chain = identity.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivateKeyDer::from_pem_slice(identity.key.expose()).map_err(TlsError::Key)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Tickets instead of a table of sessions: a table of 256, rustls' default, is nothing for a page of 470 requests
    // times its guests.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(config)
}
