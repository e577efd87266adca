//! TLS towards mail servers (RFC 3207, RFC 7435).
//!
//! Invariant: where TLS is required the server proves its name to the system's roots; where it is opportunistic any
//! certificate will do, because the alternative is clear text, which proves nothing at all.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Whether the server must prove its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    Required,
    None,
}

/// Client configurations, made when they are first needed.
#[derive(Default)]
pub struct Tls {
    proving: OnceLock<Result<Arc<ClientConfig>, String>>,
    any: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl Tls {
    /// The handshake; `host` is a name or an address literal.
    pub async fn handshake(&self, host: &str, proof: Proof, tcp: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let config = match proof {
            Proof::Required => self.proving.get_or_init(proving),
            Proof::None => self.any.get_or_init(any),
        };
        let config = config.clone()?;
        let name = match host.parse::<IpAddr>() {
            Ok(ip) => ServerName::IpAddress(ip.into()),
            Err(_) => ServerName::try_from(host.to_owned()).map_err(|_| format!("{host} is no name for a certificate"))?,
        };
        TlsConnector::from(config).connect(name, tcp).await.map_err(|e: io::Error| e.to_string())
    }
}

fn proving() -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (good, _) = roots.add_parsable_certificates(found.certs);
    if good == 0 {
        let why = found.errors.first().map_or_else(|| "none is installed".to_owned(), ToString::to_string);
        return Err(format!("this machine has no root certificates to check a server with ({why}); install ca-certificates"));
    }
    let config = builder(ring::default_provider())?.with_root_certificates(roots).with_no_client_auth();
    Ok(Arc::new(config))
}

fn any() -> Result<Arc<ClientConfig>, String> {
    let provider = ring::default_provider();
    let verifier = Arc::new(AnyCertificate(provider.clone()));
    let config = builder(provider)?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    Ok(Arc::new(config))
}

type Builder = tokio_rustls::rustls::ConfigBuilder<ClientConfig, tokio_rustls::rustls::WantsVerifier>;

fn builder(provider: CryptoProvider) -> Result<Builder, String> {
    ClientConfig::builder_with_provider(provider.into()).with_safe_default_protocol_versions().map_err(|e| e.to_string())
}

/// Accepts every certificate, and still checks that the server holds its key.
#[derive(Debug)]
struct AnyCertificate(CryptoProvider);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
