//! Reads of the single named objects that a Pod refers to, as the node authorizer allows them.

use std::fmt;

use async_trait::async_trait;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret, ServiceAccount,
};
use kube::api::{Api, PostParams};

#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ReadError {
    /// The words in which the API server says that there is no such object.
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Other(String),
}

impl ReadError {
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, ReadError::NotFound(_))
    }
}

impl From<kube::Error> for ReadError {
    fn from(error: kube::Error) -> ReadError {
        match error {
            kube::Error::Api(status) if status.code == 404 => ReadError::NotFound(status.message.clone()),
            kube::Error::Api(status) => ReadError::Other(status.message.clone()),
            other => ReadError::Other(other.to_string()),
        }
    }
}

/// What the kubelet asks the API about on behalf of one Pod.
#[async_trait]
pub(crate) trait Objects: Send + Sync + fmt::Debug {
    async fn config_map(&self, namespace: &str, name: &str) -> Result<ConfigMap, ReadError>;
    async fn secret(&self, namespace: &str, name: &str) -> Result<Secret, ReadError>;
    async fn token(
        &self,
        namespace: &str,
        account: &str,
        request: &TokenRequest,
    ) -> Result<TokenRequest, ReadError>;
    async fn claim(&self, namespace: &str, name: &str) -> Result<PersistentVolumeClaim, ReadError>;
    async fn volume(&self, name: &str) -> Result<PersistentVolume, ReadError>;
}

/// [`Objects`] over the API, one GET a call.
#[derive(Clone)]
pub(crate) struct ApiObjects(kube::Client);

impl fmt::Debug for ApiObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiObjects")
    }
}

impl ApiObjects {
    pub(crate) fn new(client: kube::Client) -> ApiObjects {
        ApiObjects(client)
    }
}

#[async_trait]
impl Objects for ApiObjects {
    async fn config_map(&self, namespace: &str, name: &str) -> Result<ConfigMap, ReadError> {
        Ok(Api::namespaced(self.0.clone(), namespace).get(name).await?)
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Secret, ReadError> {
        Ok(Api::namespaced(self.0.clone(), namespace).get(name).await?)
    }

    async fn token(
        &self,
        namespace: &str,
        account: &str,
        request: &TokenRequest,
    ) -> Result<TokenRequest, ReadError> {
        let api: Api<ServiceAccount> = Api::namespaced(self.0.clone(), namespace);
        Ok(api.create_token_request(account, &PostParams::default(), request).await?)
    }

    async fn claim(&self, namespace: &str, name: &str) -> Result<PersistentVolumeClaim, ReadError> {
        Ok(Api::namespaced(self.0.clone(), namespace).get(name).await?)
    }

    async fn volume(&self, name: &str) -> Result<PersistentVolume, ReadError> {
        Ok(Api::all(self.0.clone()).get(name).await?)
    }
}

/// Objects for tests of what is made out of them.
#[cfg(test)]
pub(crate) mod fixed {
    use super::*;

    /// A fixed set of objects.
    #[derive(Debug, Default)]
    pub(crate) struct FixedObjects {
        pub(crate) config_maps: std::sync::Mutex<Vec<ConfigMap>>,
        pub(crate) secrets: std::sync::Mutex<Vec<Secret>>,
        pub(crate) tokens: std::sync::Mutex<Vec<Result<TokenRequest, ReadError>>>,
    }

    #[async_trait]
    impl Objects for FixedObjects {
        async fn config_map(&self, namespace: &str, name: &str) -> Result<ConfigMap, ReadError> {
            let found =
                self.config_maps.lock().unwrap().iter().find(|it| is(&it.metadata, namespace, name)).cloned();
            found.ok_or_else(|| ReadError::NotFound(format!("configmaps \"{name}\" not found")))
        }

        async fn secret(&self, namespace: &str, name: &str) -> Result<Secret, ReadError> {
            let found =
                self.secrets.lock().unwrap().iter().find(|it| is(&it.metadata, namespace, name)).cloned();
            found.ok_or_else(|| ReadError::NotFound(format!("secrets \"{name}\" not found")))
        }

        async fn token(&self, _: &str, account: &str, _: &TokenRequest) -> Result<TokenRequest, ReadError> {
            let mut tokens = self.tokens.lock().unwrap();
            if tokens.is_empty() {
                return Err(ReadError::Other(format!("no token for {account}")));
            }
            tokens.remove(0)
        }

        async fn claim(&self, _: &str, name: &str) -> Result<PersistentVolumeClaim, ReadError> {
            Err(ReadError::NotFound(format!("persistentvolumeclaims \"{name}\" not found")))
        }

        async fn volume(&self, name: &str) -> Result<PersistentVolume, ReadError> {
            Err(ReadError::NotFound(format!("persistentvolumes \"{name}\" not found")))
        }
    }

    fn is(metadata: &kube::core::ObjectMeta, namespace: &str, name: &str) -> bool {
        metadata.namespace.as_deref() == Some(namespace) && metadata.name.as_deref() == Some(name)
    }
}
