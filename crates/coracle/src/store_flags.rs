//! The flags that say where the objects are kept, named as kube-apiserver names them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use coracle_store::EtcdOptions;

use crate::boot::Objects;

#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Keep the objects in an etcd cluster, which several servers can share: etcd=http(s)://HOST:PORT[,…] [default: in
    /// the data directory]
    #[arg(long, env = "CORACLE_STORE", value_name = "etcd=URL,…", conflicts_with = "ephemeral")]
    store: Option<String>,
    /// PEM of the authority that signed etcd's certificates
    #[arg(long, value_name = "FILE", requires = "store")]
    etcd_cafile: Option<PathBuf>,
    /// PEM of the certificate to show to etcd
    #[arg(long, value_name = "FILE", requires = "store", requires = "etcd_keyfile")]
    etcd_certfile: Option<PathBuf>,
    /// PEM of that certificate's key
    #[arg(long, value_name = "FILE", requires = "store", requires = "etcd_certfile")]
    etcd_keyfile: Option<PathBuf>,
    /// What all keys in etcd start with
    #[arg(long, value_name = "PREFIX", requires = "store", default_value = EtcdOptions::PREFIX)]
    etcd_prefix: String,
    /// How often one of the servers has etcd forget its history; 0s for never
    #[arg(long, value_name = "DURATION", requires = "store", default_value = "5m", value_parser = duration)]
    etcd_compaction_interval: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    let signed: jiff::SignedDuration = text.parse().map_err(|e: jiff::Error| e.to_string())?;
    Duration::try_from(signed).map_err(|_| "it is negative".into())
}

impl Flags {
    pub(crate) fn read(self, ephemeral: bool) -> anyhow::Result<Objects> {
        let Some(store) = &self.store else {
            return Ok(if ephemeral { Objects::Memory } else { Objects::Disk });
        };
        let Some(endpoints) = store.strip_prefix("etcd=") else {
            bail!("--store {store:?} is not understood: it is etcd=URL,…");
        };
        let endpoints: Vec<String> = endpoints.split(',').map(|url| url.trim().to_owned()).collect();
        for url in &endpoints {
            if !url.starts_with("http://") && !url.starts_with("https://") {
                bail!("--store {store:?} is not understood: {url:?} does not start with http:// or https://");
            }
        }
        let read = |file: &Option<PathBuf>| {
            let read = |file: &PathBuf| {
                std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
            };
            file.as_ref().map(read).transpose()
        };
        let (certificate, key) = (read(&self.etcd_certfile)?, read(&self.etcd_keyfile)?);
        Ok(Objects::Etcd(EtcdOptions {
            endpoints,
            prefix: self.etcd_prefix,
            ca: read(&self.etcd_cafile)?,
            identity: certificate.zip(key),
            compaction: self.etcd_compaction_interval,
        }))
    }
}
