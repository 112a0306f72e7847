//! From kubeconfig, flags or the Pod's own credential to a client, in kubectl's order of precedence.

use std::path::Path;

use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::Error;
use crate::args::Globals;

/// A client and the namespace that requests are scoped to.
#[derive(Clone)]
pub(crate) struct Connection {
    pub client: Client,
    pub namespace: String,
}

pub(crate) async fn connect(globals: &Globals) -> Result<Connection, Error> {
    let mut config = config(globals).await?;
    override_from_flags(&mut config, globals)?;
    let namespace = globals.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).map_err(|e| Error::local(e.to_string()))?;
    Ok(Connection { client, namespace })
}

/// The configuration before flags: an explicit file, else `KUBECONFIG`, else `~/.kube/config`, else the Pod's own.
pub(crate) async fn config(globals: &Globals) -> Result<Config, Error> {
    let options = KubeConfigOptions {
        context: globals.context.clone(),
        cluster: globals.cluster.clone(),
        user: globals.user.clone(),
    };
    if let Some(path) = &globals.kubeconfig {
        return from_file(path, &options).await;
    }
    match Kubeconfig::read() {
        Ok(kubeconfig) if !kubeconfig.contexts.is_empty() || !kubeconfig.clusters.is_empty() => {
            let read = Config::from_custom_kubeconfig(kubeconfig, &options).await;
            return read.map_err(|e| Error::local(e.to_string()));
        }
        Ok(_) => {}
        Err(e) if is_missing(&e) => {}
        Err(e) => return Err(Error::local(format!("error loading config file: {e}"))),
    }
    if let Ok(config) = Config::incluster() {
        return Ok(config);
    }
    // kubectl's own default when it finds nothing at all.
    let server = globals.server.clone().unwrap_or_else(|| "http://localhost:8080".to_owned());
    Ok(Config::new(server.parse().map_err(|e| Error::local(format!("invalid server address: {e}")))?))
}

async fn from_file(path: &Path, options: &KubeConfigOptions) -> Result<Config, Error> {
    let shown = path.display();
    if !path.exists() {
        return Err(Error::local(format!("stat {shown}: no such file or directory")));
    }
    let kubeconfig = Kubeconfig::read_from(path)
        .map_err(|e| Error::local(format!("error loading config file \"{shown}\": {e}")))?;
    let read = Config::from_custom_kubeconfig(kubeconfig, options).await;
    read.map_err(|e| Error::local(format!("error loading config file \"{shown}\": {e}")))
}

fn is_missing(e: &kube::config::KubeconfigError) -> bool {
    use kube::config::KubeconfigError as K;
    match e {
        K::FindPath => true,
        K::ReadConfig(io, _) => io.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

fn override_from_flags(config: &mut Config, globals: &Globals) -> Result<(), Error> {
    if let Some(server) = &globals.server {
        config.cluster_url =
            server.parse().map_err(|e| Error::local(format!("invalid server address: {e}")))?;
    }
    if let Some(token) = &globals.token {
        config.auth_info = AuthInfo { token: Some(token.clone().into()), ..AuthInfo::default() };
    }
    if let Some(path) = &globals.certificate_authority {
        if !Path::new(path).exists() {
            return Err(Error::local(format!("unable to read certificate-authority {path}: no such file")));
        }
        config.root_cert = None;
        config.root_cert_file = Some(path.into());
    }
    config.accept_invalid_certs |= globals.insecure;
    if globals.as_user.is_some() {
        config.auth_info.impersonate = globals.as_user.clone();
    }
    if !globals.as_groups.is_empty() {
        config.auth_info.impersonate_groups = Some(globals.as_groups.clone());
    }
    if globals.as_uid.is_some() {
        config.auth_info.impersonate_uid = globals.as_uid.clone();
    }
    // A watch or a log may be silent for as long as it likes.
    config.read_timeout = None;
    Ok(())
}
