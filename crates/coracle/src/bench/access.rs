//! Where a server is and who calls it: what a kubeconfig says, for any server that speaks HTTP/2 over TLS.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use http::{HeaderMap, Request, Response};
use kube::Config;
use kube::client::ConfigExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use rustls::pki_types::ServerName;
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, service_fn};

const HTTPS_PORT: u16 = 443;

#[derive(Clone)]
pub(crate) struct Access {
    pub(super) host: String,
    pub(super) port: u16,
    /// In front of every path, where several servers share an address.
    pub(super) prefix: String,
    pub(super) tls: Arc<rustls::ClientConfig>,
    pub(super) name: ServerName<'static>,
    /// A token or a password, and whom to impersonate.
    pub(super) headers: HeaderMap,
}

impl Access {
    pub(crate) async fn read(kubeconfig: &Path) -> anyhow::Result<Access> {
        let shown = kubeconfig.display();
        std::fs::metadata(kubeconfig).with_context(|| format!("cannot read the kubeconfig {shown}"))?;
        let read = Kubeconfig::read_from(kubeconfig);
        // What the parser says goes on with a picture of the place.
        let first_line = |error: &dyn std::error::Error| error.to_string().lines().next().map(str::to_owned);
        let read = read.map_err(|error| {
            anyhow!("cannot read the kubeconfig {shown}: {}", first_line(&error).unwrap_or_default())
        })?;
        let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
        let config = config.map_err(|error| anyhow!("cannot use the kubeconfig {shown}: {error}"))?;
        Access::new(&config).await.with_context(|| format!("cannot use the kubeconfig {shown}"))
    }

    async fn new(config: &Config) -> anyhow::Result<Access> {
        let url = &config.cluster_url;
        if url.scheme_str() != Some("https") {
            bail!("the server {url} is not reached by https");
        }
        if config.proxy_url.is_some() {
            bail!("the server is behind a proxy, which would be measured instead");
        }
        let host = url.host().with_context(|| format!("the server {url} has no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = config.tls_server_name.clone().unwrap_or_else(|| host.clone());
        let mut tls = config.rustls_client_config()?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Access {
            port: url.port_u16().unwrap_or(HTTPS_PORT),
            prefix: url.path().trim_end_matches('/').to_owned(),
            tls: Arc::new(tls),
            name: ServerName::try_from(name.clone()).with_context(|| format!("{name:?} is no host name"))?,
            headers: credential(config).await?,
            host,
        })
    }

    /// As a URL has it.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// The headers that the kubeconfig's user sends with every request. A measurement is shorter than a token's life.
async fn credential(config: &Config) -> anyhow::Result<HeaderMap> {
    let seen = service_fn(|request: Request<kube::client::Body>| async move {
        let mut answer = Response::new(());
        *answer.headers_mut() = request.headers().clone();
        Ok::<_, BoxError>(answer)
    });
    let service = ServiceBuilder::new().layer(config.extra_headers_layer()?).service(seen);
    let request = Request::new(kube::client::Body::empty());
    let answer = match config.auth_layer()? {
        Some(layer) => layer.layer(service).oneshot(request).await,
        None => service.oneshot(request).await,
    };
    let answer = answer.map_err(|error| anyhow!(error))?;
    Ok(answer.into_parts().0.headers)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    async fn check(kubeconfig: &str, expected: Expect) {
        crate::install_crypto();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        std::fs::write(&path, kubeconfig).unwrap();
        let told = match Access::read(&path).await {
            Ok(access) => format!(
                "{} {:?} {:?} {:?}\n",
                access.authority(),
                access.prefix,
                access.name,
                access
                    .headers
                    .iter()
                    .map(|(n, v)| (n.as_str(), v.as_bytes()))
                    .map(|(n, v)| format!("{n}: {}", String::from_utf8_lossy(v)))
                    .collect::<Vec<_>>()
            ),
            Err(error) => format!("{error:#}\n").replace(&path.display().to_string(), "CONFIG"),
        };
        expected.assert_eq(&told);
    }

    fn kubeconfig(cluster: &str, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{{cluster}}}}}]\n\
             users: [{{name: u, user: {{{user}}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
        )
    }

    #[tokio::test]
    async fn a_kubeconfig_says_where_and_who() {
        check(
            &kubeconfig("server: 'https://api.example:8443/k8s/one/'", "token: abc"),
            expect![[r#"
            api.example:8443 "/k8s/one" DnsName("api.example") ["authorization: Bearer abc"]
        "#]],
        )
        .await;
        check(
            &kubeconfig("server: 'https://[::1]', tls-server-name: api", "username: a, password: b, as: eve"),
            expect![[r#"
                [::1]:443 "" DnsName("api") ["authorization: Basic YTpi", "impersonate-user: eve"]
            "#]],
        )
        .await;
    }

    #[tokio::test]
    async fn a_kubeconfig_that_cannot_be_used_is_one_clear_line() {
        check("a: [", expect![[r#"
            cannot read the kubeconfig CONFIG: failed to parse kubeconfig YAML: error: line 1 column 4: unclosed bracket '['
        "#]]).await;
        check(
            "apiVersion: v1\nkind: Config\n",
            expect![[r#"
            cannot use the kubeconfig CONFIG: failed to determine current context
        "#]],
        )
        .await;
        check(
            &kubeconfig("server: 'http://127.0.0.1:8080'", ""),
            expect![[r#"
            cannot use the kubeconfig CONFIG: the server http://127.0.0.1:8080/ is not reached by https
        "#]],
        )
        .await;
        check(
            &kubeconfig("server: 'https://127.0.0.1', proxy-url: 'http://p'", ""),
            expect![[r#"
            cannot use the kubeconfig CONFIG: the server is behind a proxy, which would be measured instead
        "#]],
        )
        .await;
        check(
            &kubeconfig("server: 'https://127.0.0.1', certificate-authority: /no/such/file", ""),
            expect![[r#"
                cannot use the kubeconfig CONFIG: failed to load certificate authority: failed to read file '"/no/such/file"': No such file or directory (os error 2)
            "#]],
        )
        .await;
        let missing = Access::read(Path::new("/no/such/config")).await.err().unwrap();
        assert_eq!(
            format!("{missing:#}"),
            "cannot read the kubeconfig /no/such/config: No such file or directory (os error 2)"
        );
    }
}
