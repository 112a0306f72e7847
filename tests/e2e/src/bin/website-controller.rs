//! A controller as users write it with `kube`: brings its own kind with it, makes a ConfigMap for each object, reports in
//! status and events, and cleans up behind a finalizer. In a Pod with nothing configured.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::finalizer::{Event as Finalizer, finalizer};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::{Controller, watcher};
use kube::{Api, Client, CustomResource, CustomResourceExt, KubeSchema, Resource, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::json;

const MANAGER: &str = "website-controller";
const FINALIZER: &str = "sites.example.com/farewell";
const RETRY: Duration = Duration::from_secs(1);
const RESYNC: Duration = Duration::from_secs(300);

#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug)]
#[kube(
    group = "sites.example.com",
    version = "v1",
    kind = "Website",
    namespaced,
    status = "WebsiteStatus",
    shortname = "site",
    printcolumn(name = "Title", type_ = "string", json_path = ".spec.title"),
    printcolumn(name = "Pages", type_ = "integer", json_path = ".status.pages"),
    validation = "self.metadata.name != 'forbidden'"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.pages.size() > 0", "a website has pages"))]
struct WebsiteSpec {
    /// What stands at the top of each page.
    #[serde(default = "untitled")]
    title: String,
    /// The text of each page by its name.
    #[schemars(length(max = 100))]
    pages: BTreeMap<String, String>,
}

#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase")]
struct WebsiteStatus {
    pages: usize,
    observed_generation: i64,
}

fn untitled() -> String {
    "untitled".to_owned()
}

struct Context {
    client: Client,
    recorder: Recorder,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Kube(#[from] kube::Error),
    #[error(transparent)]
    Finalizer(#[from] Box<kube::runtime::finalizer::Error<kube::Error>>),
}

async fn reconcile(site: Arc<Website>, context: Arc<Context>) -> Result<Action, Error> {
    let sites: Api<Website> = Api::default_namespaced(context.client.clone());
    finalizer(&sites, FINALIZER, site, |event| async {
        match event {
            Finalizer::Apply(site) => publish(&site, &context).await,
            Finalizer::Cleanup(site) => say_farewell(&site, &context).await,
        }
    })
    .await
    .map_err(|e| Error::Finalizer(Box::new(e)))
}

async fn publish(site: &Website, context: &Context) -> Result<Action, kube::Error> {
    let title = &site.spec.title;
    let pages = site.spec.pages.iter().map(|(name, text)| (name.clone(), format!("{title}: {text}")));
    let mut map = config_map(site.name_any(), pages.collect());
    map.metadata.owner_references = site.controller_owner_ref(&()).map(|owner| vec![owner]);
    apply_config_map(&map, context).await?;
    let status = WebsiteStatus {
        pages: site.spec.pages.len(),
        observed_generation: site.metadata.generation.unwrap_or_default(),
    };
    let sites: Api<Website> = Api::default_namespaced(context.client.clone());
    let patch = Patch::Merge(json!({"status": status}));
    sites.patch_status(&site.name_any(), &PatchParams::default(), &patch).await?;
    tell(site, context, "Published", format!("with {} pages", status.pages)).await?;
    Ok(Action::requeue(RESYNC))
}

/// What is left behind is nobody's property.
async fn say_farewell(site: &Website, context: &Context) -> Result<Action, kube::Error> {
    let name = format!("{}-farewell", site.name_any());
    apply_config_map(&config_map(name, BTreeMap::from([("last".into(), site.spec.title.clone())])), context)
        .await?;
    tell(site, context, "Closed", "for good".to_owned()).await?;
    Ok(Action::await_change())
}

fn config_map(name: String, data: BTreeMap<String, String>) -> ConfigMap {
    let mut map = ConfigMap { data: Some(data), ..ConfigMap::default() };
    map.metadata.name = Some(name);
    map
}

async fn apply_config_map(map: &ConfigMap, context: &Context) -> Result<ConfigMap, kube::Error> {
    let maps: Api<ConfigMap> = Api::default_namespaced(context.client.clone());
    maps.patch(&map.name_any(), &PatchParams::apply(MANAGER).force(), &Patch::Apply(map)).await
}

async fn tell(site: &Website, context: &Context, reason: &str, note: String) -> Result<(), kube::Error> {
    let event = Event {
        type_: EventType::Normal,
        reason: reason.to_owned(),
        note: Some(note),
        action: "Reconciling".to_owned(),
        secondary: None,
    };
    context.recorder.publish(&event, &site.object_ref(&())).await
}

/// Apply the kind's definition and wait until it is served.
async fn define(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client);
    let apply = PatchParams::apply(MANAGER).force();
    definitions.patch(Website::crd_name(), &apply, &Patch::Apply(Website::crd())).await?;
    await_condition(definitions, Website::crd_name(), conditions::is_crd_established()).await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Another provider may be linked in by a feature of another crate of the workspace: choose, do not guess.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = Client::try_default().await?;
    define(client.clone()).await?;
    let sites: Api<Website> = Api::default_namespaced(client.clone());
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let reporter = Reporter { controller: MANAGER.into(), instance: std::env::var("HOSTNAME").ok() };
    let context = Arc::new(Context { client: client.clone(), recorder: Recorder::new(client, reporter) });
    println!("ready");
    Controller::new(sites, watcher::Config::default())
        .owns(maps, watcher::Config::default())
        .shutdown_on_signal()
        .run(reconcile, |_, _, _| Action::requeue(RETRY), context)
        .for_each(|reconciled| async move {
            match reconciled {
                Ok((site, _)) => println!("reconciled {}", site.name),
                Err(error) => println!("not reconciled: {error}"),
            }
        })
        .await;
    Ok(())
}
