//! TLS (RFC 8446, RFC 5246): rustls with aws-lc, 1.3 and 1.2, the post-quantum hybrid first, `h2` and `http/1.1` by ALPN.

use std::io;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::telemetry::metrics::{Handshake, Resumed, TlsVersion};
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

/// What a handshake that ended well came to.
pub(crate) fn agreed(connection: &ServerConnection) -> (TlsVersion, Resumed) {
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
        // No other is offered.
        _ => TlsVersion::Tls13,
    };
    let resumed = match connection.handshake_kind() {
        Some(HandshakeKind::Resumed) => Resumed::Yes,
        _ => Resumed::No,
    };
    (version, resumed)
}

/// Why a handshake came to nothing.
pub(crate) fn why_it_failed(error: &io::Error) -> Handshake {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(_)) => Handshake::Alert,
        Some(rustls::Error::InvalidMessage(_)) => Handshake::NotTls,
        Some(rustls::Error::PeerIncompatible(_)) => Handshake::NothingInCommon,
        Some(_) => Handshake::Other,
        None if error.kind() == io::ErrorKind::Other => Handshake::Other,
        None => Handshake::Left,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_its_word() {
        let tls = |error: rustls::Error| io::Error::new(io::ErrorKind::InvalidData, error);
        let table = [
            (tls(rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA)), Handshake::Alert),
            (tls(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)), Handshake::NotTls),
            (
                tls(rustls::Error::PeerIncompatible(rustls::PeerIncompatible::NoCipherSuitesInCommon)),
                Handshake::NothingInCommon,
            ),
            (tls(rustls::Error::DecryptError), Handshake::Other),
            (io::ErrorKind::UnexpectedEof.into(), Handshake::Left),
            (io::ErrorKind::ConnectionReset.into(), Handshake::Left),
            (io::Error::other("anything"), Handshake::Other),
        ];
        for (error, word) in table {
            assert_eq!(why_it_failed(&error), word, "{error}");
        }
    }
}
