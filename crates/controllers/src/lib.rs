//! The controllers: each an API client with a service account of its own, one row and one file each.
//!
//! **Invariant:** a controller never sees the store, and never asks why it was woken: it reads, plans, applies.

#![forbid(unsafe_code)]

mod certificates;
mod cluster_role_aggregation;
mod disruption;
mod endpoint_slice;
mod endpoints;
mod garbage_collector;
mod informer;
mod legacy_token;
mod metadata;
mod namespace;
mod node_lifecycle;
mod pod;
mod pod_endpoints;
mod pod_gc;
mod policy_status;
mod pv_protection;
mod pvc_protection;
mod resource_quota;
mod root_ca;
mod service_account;
mod service_cidrs;
mod use_protection;
mod vac_protection;
mod work;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use coracle_clock::Clock;
use futures::future::BoxFuture;
use kube::Client;
use tokio::task::JoinSet;

use informer::Informers;

/// What every controller is handed.
#[expect(missing_debug_implementations, reason = "a client has nothing to show")]
#[derive(Clone)]
pub struct Context {
    /// Speaks as the controller's own identity: what it may write is in its own role.
    pub client: Client,
    /// Lists and watches as the controller manager, whose informers all controllers share in the reference.
    pub informer: Client,
    /// The kinds that are read once for all controllers.
    informers: Informers,
    pub clock: Clock,
    pub config: Arc<Config>,
}

/// What the controllers must know about their cluster.
pub struct Config {
    /// PEM of the cluster's CA, published into every namespace and every legacy token Secret.
    pub root_ca: String,
    /// Signs the token of a legacy Secret.
    pub sign_legacy_token: SignLegacyToken,
    /// Signs requests for certificates with the cluster's CA, whose key stays where it is.
    pub sign_certificate: SignCertificate,
    /// Whether kubelets report for the Nodes. Where none does, a Node stays as it was last reported.
    pub nodes_report: bool,
}

/// A token for these claims, or why there is none.
pub type SignLegacyToken =
    Box<dyn Fn(LegacyToken) -> BoxFuture<'static, Result<String, String>> + Send + Sync>;

/// The PEM of a certificate, or why there can be none.
pub type SignCertificate = Box<dyn Fn(SigningOrder) -> Result<String, String> + Send + Sync>;

/// A certificate as it is to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningOrder {
    /// PKCS #10, in DER.
    pub request: Vec<u8>,
    /// As `spec.usages` names them.
    pub usages: Vec<String>,
    pub life: Duration,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").finish_non_exhaustive()
    }
}

/// What a token of a Secret of type `kubernetes.io/service-account-token` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyToken {
    pub namespace: String,
    pub secret: String,
    pub account: String,
    pub account_uid: String,
}

/// Who the reference's shared informers and its token controller are.
pub const MANAGER: &str = "system:kube-controller-manager";

/// One row: who it is and what it runs.
pub struct Controller {
    /// Its identity, to which the bootstrap policy binds a role.
    pub user: &'static str,
    run: fn(Context) -> BoxFuture<'static, Result<(), Error>>,
}

impl fmt::Debug for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.user)
    }
}

/// THE LIST of controllers, each with the identity that the reference's bootstrap policy gives it.
pub const CONTROLLERS: &[Controller] = &[
    Controller {
        user: "system:serviceaccount:kube-system:service-account-controller",
        run: |cx| Box::pin(service_account::run(cx)),
    },
    Controller {
        user: "system:serviceaccount:kube-system:root-ca-cert-publisher",
        run: |cx| Box::pin(root_ca::run(cx)),
    },
    Controller {
        user: "system:serviceaccount:kube-system:namespace-controller",
        run: |cx| Box::pin(namespace::run(cx)),
    },
    Controller {
        user: "system:serviceaccount:kube-system:generic-garbage-collector",
        run: |cx| Box::pin(garbage_collector::run(cx)),
    },
    Controller {
        user: "system:serviceaccount:kube-system:endpoint-controller",
        run: |cx| Box::pin(endpoints::run(cx)),
    },
    Controller {
        user: "system:serviceaccount:kube-system:endpointslice-controller",
        run: |cx| Box::pin(endpoint_slice::run(cx)),
    },
    Controller {
        user: "system:serviceaccount:kube-system:node-controller",
        run: |cx| Box::pin(node_lifecycle::run(cx)),
    },
    Controller {
        user: "system:serviceaccount:kube-system:pod-garbage-collector",
        run: |cx| Box::pin(pod_gc::run(cx)),
    },
    Controller {
        user: "system:serviceaccount:kube-system:resourcequota-controller",
        run: |cx| Box::pin(resource_quota::run(cx)),
    },
    Controller {
        user: "system:serviceaccount:kube-system:pvc-protection-controller",
        run: |cx| Box::pin(pvc_protection::run(cx)),
    },
    Controller {
        user: "system:serviceaccount:kube-system:pv-protection-controller",
        run: |cx| Box::pin(pv_protection::run(cx)),
    },
    Controller {
        user: "system:serviceaccount:kube-system:volumeattributesclass-protection-controller",
        run: |cx| Box::pin(vac_protection::run(cx)),
    },
    Controller {
        user: "system:serviceaccount:kube-system:disruption-controller",
        run: |cx| Box::pin(disruption::run(cx)),
    },
    Controller {
        user: "system:serviceaccount:kube-system:validatingadmissionpolicy-status-controller",
        run: |cx| Box::pin(policy_status::run(cx)),
    },
    Controller {
        user: "system:serviceaccount:kube-system:service-cidrs-controller",
        run: |cx| Box::pin(service_cidrs::run(cx)),
    },
    Controller {
        user: "system:serviceaccount:kube-system:certificate-controller",
        run: |cx| Box::pin(certificates::run(cx)),
    },
    Controller {
        user: "system:serviceaccount:kube-system:clusterrole-aggregation-controller",
        run: |cx| Box::pin(cluster_role_aggregation::run(cx)),
    },
    // The reference runs this one under the controller manager's own name, too.
    Controller { user: MANAGER, run: |cx| Box::pin(legacy_token::run(cx)) },
];

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("watch ended: {0}")]
    Watch(#[from] kube::runtime::watcher::Error),
    #[error("{0}")]
    Unexpected(String),
}

impl Error {
    /// Whether the API answered with this code.
    fn is_code(&self, code: u16) -> bool {
        matches!(self, Error::Api(e) if api_code(e) == Some(code))
    }
}

fn api_code(e: &kube::Error) -> Option<u16> {
    match e {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// `Ok(None)` where the API says 404.
fn found<T>(r: Result<T, kube::Error>) -> Result<Option<T>, Error> {
    match r {
        Ok(v) => Ok(Some(v)),
        Err(e) if api_code(&e) == Some(404) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// A controller that ends starts again after this: long enough not to spin, short enough not to be noticed.
const RESTART_DELAY: Duration = Duration::from_millis(500);

/// The running controllers; dropping it stops them.
#[derive(Debug)]
pub struct Running(JoinSet<()>);

impl Running {
    pub async fn stop(mut self) {
        self.0.shutdown().await;
    }
}

/// Start every controller with a client of its own.
pub fn start(client_for: impl Fn(&'static str) -> Client, clock: &Clock, config: Config) -> Running {
    let config = Arc::new(config);
    let mut tasks = JoinSet::new();
    let informers = Informers::start(&client_for(MANAGER), &mut tasks);
    for controller in CONTROLLERS {
        let cx = Context {
            client: client_for(controller.user),
            informer: client_for(MANAGER),
            informers: informers.clone(),
            clock: clock.clone(),
            config: config.clone(),
        };
        tasks.spawn(async move {
            loop {
                if let Err(error) = (controller.run)(cx.clone()).await {
                    tracing::warn!(controller = controller.user, %error, "controller ended, starting again");
                }
                cx.clock.sleep(RESTART_DELAY).await;
            }
        });
    }
    Running(tasks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_controller_has_an_identity_of_its_own() {
        let mut names: Vec<_> = CONTROLLERS.iter().map(|c| c.user).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CONTROLLERS.len());
    }
}
