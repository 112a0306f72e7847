//! Keeping rules and names in step with the API's Services and EndpointSlices.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use hickory_proto::rr::Name;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::reflector::{self, Store, store::Writer};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::Notify;

use crate::dns::{self, Records, Zone};
use crate::proxy::{ServicePort, plan};
use crate::{Error, Network};

/// The rules are written again now and then, in case somebody has flushed them; kube-proxy does so every 30 s too.
const REPEAT: Duration = Duration::from_secs(30);
/// How soon something that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

impl Network {
    /// Serve Services and DNS until `shutdown`.
    pub async fn run(&self, client: Client, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let zone = self.zone()?;
        let upstream = dns::upstream(&self.config().upstreams, &self.config().clock, self.gateway());
        let names = Records::new(zone.clone(), 0, &[], &[]);
        let server = dns::Server::start(self.gateway(), names, upstream).await?;
        let announce = self.announce(&client, server.port());
        let follow = self.follow(&client, &server, zone);
        tokio::select! {
            ((), ()) = async { tokio::join!(announce, follow) } => {}
            () = shutdown => {}
        }
        server.stop().await;
        Ok(())
    }

    fn zone(&self) -> Result<Zone, Error> {
        let domain = &self.config().cluster_domain;
        let mut name = Name::from_ascii(domain).map_err(|_| Error::Domain(domain.clone()))?;
        name.set_fqdn(true);
        let ranges = vec![self.config().service_cidr, self.pod_cidr()];
        Ok(Zone { domain: name.to_lowercase(), dns_ip: self.dns_ip(), ranges })
    }

    /// Tell Pods where DNS is; the API may not be ready yet.
    async fn announce(&self, client: &Client, port: u16) {
        while let Err(error) = dns::service::announce(client, self.dns_ip(), (self.gateway(), port)).await {
            tracing::warn!(%error, "cannot announce DNS");
            self.config().clock.sleep(RETRY).await;
        }
    }

    async fn follow(&self, client: &Client, server: &dns::Server, zone: Zone) {
        let changed = Arc::new(Notify::new());
        let (services, service_writer) = reflector::store();
        let (slices, slice_writer) = reflector::store();
        let apply = async {
            // It only fails when the writer is gone, and with it this whole future.
            let _ = tokio::join!(services.wait_until_ready(), slices.wait_until_ready());
            self.apply(&services, &slices, &changed, server, zone).await;
        };
        tokio::join!(
            reflect(Api::<Service>::all(client.clone()), service_writer, &changed),
            reflect(Api::<EndpointSlice>::all(client.clone()), slice_writer, &changed),
            apply,
        );
    }

    /// Bring names and rules up to date again and again. What changes while rules are being written is in the next
    /// round, so that a storm of changes costs no more than `nft` without a pause.
    async fn apply(
        &self,
        services: &Store<Service>,
        slices: &Store<EndpointSlice>,
        changed: &Notify,
        server: &dns::Server,
        zone: Zone,
    ) {
        let mut written: Option<Vec<ServicePort>> = None;
        for serial in 1.. {
            let (services, slices) = (services.state(), slices.state());
            let services: Vec<_> = services.iter().map(AsRef::as_ref).collect();
            let slices: Vec<_> = slices.iter().map(AsRef::as_ref).collect();
            server.update(Records::new(zone.clone(), serial, &services, &slices));
            let ports = plan(&services, &slices);
            if written.as_ref() != Some(&ports) {
                written = match self.program(&ports).await {
                    Ok(()) => Some(ports),
                    Err(error) => {
                        tracing::warn!(%error, "cannot write the rules for Services");
                        None
                    }
                };
            }
            let pause = if written.is_some() { REPEAT } else { RETRY };
            tokio::select! {
                () = changed.notified() => {}
                () = self.config().clock.sleep(pause) => {
                    written = None;
                    if let Err(error) = self.refresh().await {
                        tracing::warn!(%error, "cannot follow the machine's network");
                    }
                }
            }
        }
    }
}

async fn reflect<K>(api: Api<K>, writer: Writer<K>, changed: &Notify)
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let events = reflector::reflector(writer, watcher(api, watcher::Config::default())).default_backoff();
    let mut events = pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_) | watcher::Event::InitDone) => {
                changed.notify_one();
            }
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
            Err(error) => tracing::warn!(%error, "a watch for the network failed"),
        }
    }
}
