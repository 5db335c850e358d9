//! Certificates: read at the start and again whenever their files change. A pair that is no good
//! never takes the place of one that is; why is told. Only new connections get the new one. The
//! time of day is asked for one thing only: whether a certificate has expired.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use grace_model::config::Tls;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use crate::validity::{self, Validity};

/// The pair in use, as threads see it. Empty until there was a good one.
#[derive(Default)]
pub(crate) struct InUse(ArcSwapOption<ServerConfig>);

impl InUse {
    pub(crate) fn get(&self) -> Option<Arc<ServerConfig>> {
        self.0.load_full()
    }
}

impl fmt::Debug for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InUse({})", self.0.load().is_some())
    }
}

/// The certificate of one service.
#[derive(Debug)]
pub(crate) struct Certificate {
    files: Tls,
    pub(crate) in_use: Arc<InUse>,
    seen: Option<[Option<Stamp>; 2]>,
    /// What is wrong with the pair in the files; none when it is in use.
    pub(crate) problem: Option<String>,
}

/// By what a changed file is known.
type Stamp = (u64, u64, i64, i64);

/// Why a pair is not used.
#[derive(Debug, thiserror::Error)]
enum CertError {
    #[error("{file}: {problem}")]
    File { file: String, problem: String },
    #[error("the certificate in {file} {problem}")]
    Time { file: String, problem: String },
    #[error("{cert} and {key} are not a pair: {problem}")]
    Pair {
        cert: String,
        key: String,
        problem: rustls::Error,
    },
}

impl Certificate {
    pub(crate) fn new(files: Tls) -> Self {
        Self {
            files,
            in_use: Arc::default(),
            seen: None,
            problem: None,
        }
    }

    pub(crate) fn is_of(&self, files: &Tls) -> bool {
        self.files == *files
    }

    /// Looks at the files and takes what is new and good; true when they have changed.
    pub(crate) fn look(&mut self) -> bool {
        let stamps = [stamp(&self.files.cert), stamp(&self.files.key)];
        if self.seen.as_ref() == Some(&stamps) {
            return false;
        }
        self.seen = Some(stamps);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |it| it.as_secs());
        match load(&self.files, now) {
            Ok(config) => {
                self.in_use.0.store(Some(Arc::new(config)));
                self.problem = None;
            }
            Err(error) => self.problem = Some(error.to_string()),
        }
        true
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

fn load(files: &Tls, now: u64) -> Result<ServerConfig, CertError> {
    let name = |path: &Path| path.display().to_string();
    let (cert, key) = (name(&files.cert), name(&files.key));
    let wrong = |file: &str, problem: String| CertError::File {
        file: file.to_owned(),
        problem,
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(&cert, format!("{error}; a PEM file is needed")))?;
    let Some(first) = chain.first() else {
        return Err(wrong(&cert, "there is no certificate in it".to_owned()));
    };
    let time = |problem: &str| CertError::Time {
        file: cert.clone(),
        problem: problem.to_owned(),
    };
    match validity::of(first.as_ref(), now) {
        Some(Validity::Now) => {}
        Some(Validity::NotYet) => return Err(time("is not valid yet")),
        Some(Validity::Over) => return Err(time("has expired; renew it")),
        None => return Err(time("cannot be read")),
    }
    let secret = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| wrong(&key, format!("{error}; a private key in PEM is needed")))?;
    let pair = |problem| CertError::Pair {
        cert: cert.clone(),
        key: key.clone(),
        problem,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
