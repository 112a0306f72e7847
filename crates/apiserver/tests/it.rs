//! A real server on a real port, spoken to by real clients.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "it/addresses.rs"]
mod addresses;
#[path = "it/admission.rs"]
mod admission;
#[path = "it/control.rs"]
mod control;
#[path = "it/custom/mod.rs"]
mod custom;
#[path = "it/evictions.rs"]
mod evictions;
#[path = "it/forms.rs"]
mod forms;
#[path = "it/hooks.rs"]
mod hooks;
#[path = "it/proofs/mod.rs"]
mod proofs;
#[path = "it/storage/mod.rs"]
mod storage;
#[path = "it/surface.rs"]
mod surface;
#[path = "it/watches.rs"]
mod watches;

use std::sync::Arc;
use std::time::Duration;

use coracle_api::User;
use coracle_api::catalog::Catalog;
use coracle_apiserver::{Config, Server, meta_of};
use coracle_auth::pki::{Pki, ServingNames};
use coracle_clock::Clock;
use coracle_store::Store;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service, ServiceAccount};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A cluster in memory, on a port of its own.
struct World {
    server: Server,
    pki: Arc<Pki>,
    port: u16,
}

impl World {
    async fn start() -> World {
        World::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut Config)) -> World {
        let clock = Clock::system();
        let pki = Arc::new(Pki::memory(&ServingNames::default(), &clock).unwrap());
        let store = Store::memory(meta_of(&Catalog::builtin()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut config = Config::new(store, pki.clone(), clock);
        config.advertise = Some(("10.0.0.1".parse().unwrap(), port));
        change(&mut config);
        let server = Server::start(config).await.unwrap();
        let serving = server.clone();
        tokio::spawn(async move { serving.serve(listener).await });
        World { server, pki, port }
    }

    /// Over TLS, with the admin's certificate.
    async fn admin(&self) -> Client {
        let text = self.pki.kubeconfig("test", &format!("https://127.0.0.1:{}", self.port), self.pki.admin());
        let parsed = Kubeconfig::from_yaml(&text).unwrap();
        let config =
            kube::Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }

    /// In process, as somebody.
    fn client_of(&self, user: User) -> Client {
        Client::new(self.server.local(user), "default")
    }

    async fn account(&self, admin: &Client, namespace: &str) {
        let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), namespace);
        let account = serde_json::from_value(json!({"metadata": {"name": "default"}})).unwrap();
        accounts.create(&PostParams::default(), &account).await.unwrap();
    }
}

fn map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"k": value}})).unwrap()
}

fn code<T>(r: Result<T, kube::Error>) -> u16 {
    match r {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(other) => panic!("no answer: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_objects_life_over_tls() {
    let world = World::start().await;
    let maps: Api<ConfigMap> = Api::namespaced(world.admin().await, "default");
    let made = maps.create(&PostParams::default(), &map("a", "1")).await.unwrap();
    assert_eq!(code(maps.create(&PostParams::default(), &map("a", "1")).await), 409);
    let since = made.metadata.resource_version.clone().unwrap();
    let mut changed = made.clone();
    changed.data = map("a", "2").data;
    maps.replace("a", &PostParams::default(), &changed).await.unwrap();
    assert_eq!(code(maps.replace("a", &PostParams::default(), &changed).await), 409);
    let patch = Patch::Merge(json!({"data": {"k": "3"}}));
    maps.patch("a", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(maps.get("a").await.unwrap().data.unwrap()["k"], "3");
    assert_eq!(maps.list(&ListParams::default()).await.unwrap().items.len(), 1);
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    assert_eq!(code(maps.get("a").await), 404);
    let seen: Vec<String> = maps
        .watch(&WatchParams::default().timeout(1), &since)
        .await
        .unwrap()
        .map_ok(|event| match event {
            WatchEvent::Added(_) => "added".to_owned(),
            WatchEvent::Modified(m) => format!("modified {}", m.data.unwrap()["k"]),
            WatchEvent::Deleted(m) => format!("deleted {}", m.data.unwrap()["k"]),
            other => format!("{other:?}"),
        })
        .try_collect()
        .await
        .unwrap();
    assert_eq!(seen, ["modified 2", "modified 3", "deleted 3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_in_force_once_its_write_returns() {
    let world = World::start().await;
    let admin = world.client_of(User {
        name: "root".into(),
        groups: vec!["system:masters".into()],
        ..User::default()
    });
    let jane: Api<ConfigMap> =
        Api::namespaced(world.client_of(User { name: "jane".into(), ..User::default() }), "default");
    assert_eq!(code(jane.list(&ListParams::default()).await), 403);
    let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let role = json!({"metadata": {"name": "r"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]});
    let binding = json!({"metadata": {"name": "b"}, "subjects": [{"kind": "User", "name": "jane"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}});
    for (plural, body) in [("roles", role), ("rolebindings", binding)] {
        let request =
            http::Request::post(format!("{path}/{plural}")).body(body.to_string().into_bytes()).unwrap();
        admin.request::<Value>(request).await.unwrap();
    }
    assert_eq!(code(jane.list(&ListParams::default()).await), 200);
    assert_eq!(code(jane.get("x").await), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_get_their_accounts_token() {
    let world = World::start().await;
    let admin = world.admin().await;
    world.account(&admin, "default").await;
    let pods: Api<Pod> = Api::namespaced(admin, "default");
    let pod = serde_json::from_value(json!({"metadata": {"generateName": "p-"},
        "spec": {"containers": [{"name": "c", "image": "example.com/app:1"}]}}))
    .unwrap();
    let spec = pods.create(&PostParams::default(), &pod).await.unwrap().spec.unwrap();
    let mount = &spec.containers[0].volume_mounts.as_ref().unwrap()[0];
    assert_eq!(mount.mount_path, "/var/run/secrets/kubernetes.io/serviceaccount");
    assert!(spec.volumes.unwrap()[0].name.starts_with("kube-api-access-"));
    assert_eq!(spec.priority, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn service_addresses_are_given_once_and_given_back() {
    let world = World::start().await;
    let services: Api<Service> = Api::namespaced(world.admin().await, "default");
    let service = |name: &str, ip: &str| -> Service {
        let mut spec = json!({"ports": [{"port": 80}]});
        if !ip.is_empty() {
            spec["clusterIP"] = json!(ip);
        }
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
    };
    let create = async |s: Service| services.create(&PostParams::default(), &s).await;
    let kubernetes = services.get("kubernetes").await.unwrap().spec.unwrap();
    assert_eq!(kubernetes.cluster_ip.as_deref(), Some("10.96.0.1"));
    let given = create(service("a", "")).await.unwrap().spec.unwrap().cluster_ip.unwrap();
    assert_eq!(code(create(service("b", &given)).await), 422);
    assert_eq!(code(create(service("b", "10.96.0.1")).await), 422);
    services.delete("a", &DeleteParams::default()).await.unwrap();
    assert_eq!(code(create(service("b", &given)).await), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_of_one_moment() {
    let world = World::start().await;
    let maps: Api<ConfigMap> = Api::namespaced(world.admin().await, "default");
    for name in ["a", "b", "c"] {
        maps.create(&PostParams::default(), &map(name, "1")).await.unwrap();
    }
    let first = maps.list(&ListParams::default().limit(2)).await.unwrap();
    let token = first.metadata.continue_.unwrap();
    assert_eq!(first.metadata.remaining_item_count, Some(1));
    maps.create(&PostParams::default(), &map("bb", "1")).await.unwrap();
    let rest = maps.list(&ListParams::default().continue_token(&token)).await.unwrap();
    let names: Vec<_> = rest.items.iter().map(|m| m.metadata.name.clone().unwrap()).collect();
    assert_eq!(names, ["c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_end_when_the_server_stops() {
    let world = World::start().await;
    let namespaces: Api<Namespace> = Api::all(world.client_of(User {
        name: "root".into(),
        groups: vec!["system:masters".into()],
        ..User::default()
    }));
    let events = namespaces.watch(&WatchParams::default(), "0").await.unwrap();
    let all = tokio::spawn(events.count());
    world.server.stop().await;
    let seen = Clock::system().timeout(Duration::from_secs(5), all).await;
    assert_eq!(seen.expect("the watch ends").unwrap(), 4);
}
