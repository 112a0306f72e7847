//! Pulling images from registries.

use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use tokio::io::AsyncWrite;

use super::{Images, MAX_DOCUMENT, Names, StoreError, canonical_reference, parse_config, verify};
use crate::{Credentials, PullError};

/// Layers of one image fetched at a time: containerd's default.
const PARALLEL_LAYERS: usize = 3;
/// A registry that does not answer for so long is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest silence in the middle of a download.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// How registries are reached.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Registries {
    /// Speak plain HTTP with registries on a loopback address, as Docker does.
    pub(crate) plain_http_loopback: bool,
}

impl Registries {
    fn client(self, reference: &Reference) -> Client {
        let registry = reference.resolve_registry();
        let plain = self.plain_http_loopback && is_loopback(registry);
        Client::new(ClientConfig {
            protocol: if plain { ClientProtocol::Http } else { ClientProtocol::Https },
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            user_agent: "coracle",
            ..ClientConfig::default()
        })
    }
}

fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

impl Images {
    pub(crate) async fn pull(
        self: &Arc<Self>,
        image: &str,
        credentials: Option<&Credentials>,
        registries: Registries,
    ) -> Result<String, PullError> {
        let invalid = |reason: String| PullError::InvalidName { name: image.into(), reason };
        let reference = Reference::from_str(image).map_err(|error| invalid(error.to_string()))?;
        if reference.registry() == "coracle.local" {
            let found = self.status(image).map_err(|error| store_error(image, error))?;
            return found.map(|image| image.id).ok_or_else(|| PullError::NotFound { name: image.into() });
        }
        let auth = credentials.map_or(RegistryAuth::Anonymous, |credentials| {
            RegistryAuth::Basic(credentials.username.clone(), credentials.password.clone())
        });
        let client = registries.client(&reference);
        let (manifest, digest, list_digest) = client
            .pull_image_manifest_and_list_digest(&reference, &auth)
            .await
            .map_err(|error| registry_error(image, error))?;
        let config =
            fetch_document(&client, &reference, &manifest.config).await.map_err(|e| e.named(image))?;
        let parsed = parse_config(&config).map_err(|error| store_error(image, error))?;
        let diff_ids = parsed.rootfs().diff_ids();
        if diff_ids.len() != manifest.layers.len() {
            let reason =
                format!("{} layers, but {} in its configuration", manifest.layers.len(), diff_ids.len());
            return Err(PullError::Refused { name: image.into(), reason });
        }
        let source = Arc::new((client, reference.clone()));
        let layers: Vec<_> = diff_ids
            .iter()
            .zip(&manifest.layers)
            .map(|(diff_id, layer)| self.clone().fetch_layer(source.clone(), diff_id.clone(), layer.clone()))
            .collect();
        let layers = futures::stream::iter(layers).buffered(PARALLEL_LAYERS).try_collect::<Vec<_>>().await;
        let layers = layers.map_err(|error| error.named(image))?;
        let mut names = Names::default();
        names.digests.insert(format!(
            "{}/{}@{}",
            reference.registry(),
            reference.repository(),
            list_digest.unwrap_or(digest)
        ));
        if reference.digest().is_none() {
            names.tags.insert(canonical_reference(&reference));
        }
        let size = manifest.layers.iter().map(|layer| u64::try_from(layer.size).unwrap_or(0)).sum();
        let images = self.clone();
        blocking(move || images.add_image(&config, layers, size, &names))
            .await
            .map_err(|error| error.named(image))
    }

    async fn fetch_layer(
        self: Arc<Self>,
        source: Arc<(Client, Reference)>,
        diff_id: String,
        layer: OciDescriptor,
    ) -> Result<String, Failure> {
        let (client, reference) = &*source;
        if let Some(name) = self.has_layer(&diff_id) {
            return Ok(name);
        }
        let path = self.temporary();
        let file = tokio::fs::File::create(&path).await.map_err(StoreError::io("make layer file"))?;
        let out = Capped { inner: file, left: u64::try_from(layer.size).unwrap_or(0) };
        let fetched = client.pull_blob(reference, &layer, out).await.map_err(Failure::from);
        let (images, layer_path) = (self.clone(), path.clone());
        let placed = match fetched {
            Ok(()) => {
                blocking(move || {
                    let file = std::fs::File::open(&layer_path).map_err(StoreError::io("open layer file"))?;
                    images.add_layer(&diff_id, file)
                })
                .await
            }
            Err(error) => Err(error),
        };
        let _ = tokio::fs::remove_file(&path).await;
        placed
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| StoreError::io("unpack")(std::io::Error::other(error)))?.map_err(Failure::from)
}

async fn fetch_document(
    client: &Client,
    reference: &Reference,
    descriptor: &OciDescriptor,
) -> Result<Vec<u8>, Failure> {
    let size = u64::try_from(descriptor.size).unwrap_or(u64::MAX);
    if size > MAX_DOCUMENT {
        return Err(
            StoreError::Refused(format!("its configuration is larger than {MAX_DOCUMENT} bytes")).into()
        );
    }
    let mut content = Vec::new();
    client.pull_blob(reference, descriptor, Capped { inner: &mut content, left: size }).await?;
    verify(&descriptor.digest, &content)?;
    Ok(content)
}

/// Takes no more than the manifest has announced.
struct Capped<W> {
    inner: W,
    left: u64,
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Capped<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if bytes.len() as u64 > self.left {
            return Poll::Ready(Err(std::io::Error::other("blob is larger than its manifest says")));
        }
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = written {
            self.left -= written as u64;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

enum Failure {
    Store(StoreError),
    Registry(Box<OciDistributionError>),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Store(error)
    }
}

impl From<OciDistributionError> for Failure {
    fn from(error: OciDistributionError) -> Failure {
        Failure::Registry(Box::new(error))
    }
}

impl Failure {
    fn named(self, image: &str) -> PullError {
        match self {
            Failure::Store(error) => store_error(image, error),
            Failure::Registry(error) => registry_error(image, *error),
        }
    }
}

fn store_error(image: &str, error: StoreError) -> PullError {
    let (name, reason) = (image.to_owned(), error.to_string());
    match error {
        StoreError::Refused(_) => PullError::Refused { name, reason },
        StoreError::Name(_) => PullError::InvalidName { name, reason },
        StoreError::Io { .. } => PullError::Other { name, reason },
    }
}

fn registry_error(image: &str, error: OciDistributionError) -> PullError {
    use OciDistributionError as E;
    let name = image.to_owned();
    let reason = with_causes(&error);
    match &error {
        E::AuthenticationFailure(_) | E::UnauthorizedError { .. } | E::RegistryTokenDecodeError(_) => {
            PullError::Unauthorized { name, reason }
        }
        E::ImageManifestNotFoundError(_) => PullError::NotFound { name },
        E::ServerError { code: 404, .. } => PullError::NotFound { name },
        E::ServerError { code: 401 | 403, .. } => PullError::Unauthorized { name, reason },
        E::RegistryError { envelope, .. } => match envelope.errors.first().map(|error| &error.code) {
            Some(
                OciErrorCode::ManifestUnknown
                | OciErrorCode::NameUnknown
                | OciErrorCode::NotFound
                | OciErrorCode::BlobUnknown
                | OciErrorCode::ManifestBlobUnknown,
            ) => PullError::NotFound { name },
            Some(OciErrorCode::Unauthorized | OciErrorCode::Denied) => {
                PullError::Unauthorized { name, reason }
            }
            _ => PullError::Other { name, reason },
        },
        E::DigestError(_) | E::SpecViolationError(_) | E::UnsupportedMediaTypeError(_) | E::JsonError(_) => {
            PullError::Refused { name, reason }
        }
        E::ManifestParsingError(_) | E::VersionedParsingError(_) | E::ManifestEncodingError(_) => {
            PullError::Refused { name, reason }
        }
        E::RequestError(_) => PullError::Unreachable { name, reason },
        E::IoError(_) => PullError::Refused { name, reason },
        _ => PullError::Other { name, reason },
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
