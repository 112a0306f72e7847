//! Snapshots and forks over the wire: who may, what comes back, and that nothing of one cluster is seen in another.

use coracle_apiserver::{Fork, ForkConfig, Forks};
use coracle_store::{Op, Txn};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::*;

/// For servers whose forks are made by the test itself.
#[derive(Debug)]
struct NoForks;

impl Forks for NoForks {
    fn create(&self, _: Server, _: Option<String>) -> BoxFuture<'_, Result<Fork, coracle_api::Status>> {
        async { Err(coracle_api::Status::bad_request("no forks of forks")) }.boxed()
    }

    fn list(&self) -> Vec<Fork> {
        Vec::new()
    }

    fn delete(&self, _: &str) -> BoxFuture<'_, Result<(), coracle_api::Status>> {
        async { Ok(()) }.boxed()
    }
}

impl World {
    pub(crate) async fn fork(&self) -> World {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = ("127.0.0.1".parse().unwrap(), port);
        let server = self.server.fork(ForkConfig { address, forks: Arc::new(NoForks) });
        let serving = server.clone();
        tokio::spawn(async move { serving.serve(listener).await });
        World { server, pki: self.pki.clone(), port }
    }

    fn root(&self) -> Client {
        self.client_of(User { name: "root".into(), groups: vec!["system:masters".into()], ..User::default() })
    }

    /// Over TLS, with a bearer token.
    async fn bearer(&self, token: &str) -> Client {
        let url = format!("https://127.0.0.1:{}", self.port);
        let parsed = Kubeconfig::from_yaml(&self.pki.kubeconfig_with_token("test", &url, token)).unwrap();
        let config =
            kube::Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }

    /// Every object, without its revision.
    fn state(&self) -> Vec<(String, Value)> {
        let state = self.server.store().snapshot();
        let objects = state.range("", None).map(|v| {
            let mut object: Value = serde_json::from_slice(&v.json).unwrap();
            object["metadata"]["resourceVersion"] = Value::Null;
            (v.key.to_string(), object)
        });
        objects.collect()
    }
}

async fn ask(client: &Client, method: &str, path: &str, body: Vec<u8>) -> (u16, Vec<u8>) {
    let request = http::Request::builder().method(method).uri(format!("/coracle/v1/{path}"));
    let response = client.send(request.body(body.into()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    (status, body.to_vec())
}

async fn told(client: &Client, method: &str, path: &str) -> (u16, Value) {
    let (status, body) = ask(client, method, path, Vec::new()).await;
    (status, serde_json::from_slice(&body).unwrap())
}

fn maps(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), "default")
}

async fn names(client: &Client) -> Vec<String> {
    let all = maps(client).list(&ListParams::default()).await.unwrap();
    all.items.into_iter().map(|m| m.metadata.name.unwrap()).collect()
}

async fn create(client: &Client, name: &str) {
    maps(client).create(&PostParams::default(), &map(name, "1")).await.unwrap();
}

/// What a watch of ConfigMaps says until the server ends it.
async fn watched(client: &Client, since: u64) -> Vec<String> {
    let events = maps(client).watch(&WatchParams::default().timeout(1), &since.to_string()).await.unwrap();
    let said = events.map_ok(|event| match event {
        WatchEvent::Added(m) => format!("+{}", m.metadata.name.unwrap()),
        WatchEvent::Modified(m) => format!("~{}", m.metadata.name.unwrap()),
        WatchEvent::Deleted(m) => format!("-{}", m.metadata.name.unwrap()),
        other => format!("{other:?}"),
    });
    said.try_collect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_fork_nor_its_parent_sees_what_is_written_to_the_other() {
    let parent = World::start().await;
    create(&parent.admin().await, "before").await;
    let since = parent.server.store().revision();
    let fork = parent.fork().await;
    let (here, there) = (parent.admin().await, fork.admin().await);
    create(&here, "parents").await;
    create(&there, "forks").await;
    maps(&there).delete("before", &DeleteParams::default()).await.unwrap();
    assert_eq!(names(&here).await, ["before", "parents"]);
    assert_eq!(names(&there).await, ["forks"]);
    assert_eq!(watched(&here, since).await, ["+parents"]);
    assert_eq!(watched(&there, since).await, ["+forks", "-before"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_begins_with_its_parents_grants_and_each_goes_on_with_its_own() {
    let parent = World::start().await;
    let grant = async |world: &World, name: &str| {
        let binding = json!({"metadata": {"name": name}, "subjects": [{"kind": "User", "name": name}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}});
        let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
        let request = http::Request::post(path).body(binding.to_string().into_bytes()).unwrap();
        world.root().request::<Value>(request).await.unwrap();
    };
    let view = json!({"metadata": {"name": "view"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]});
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/view";
    let request = http::Request::put(path).body(view.to_string().into_bytes()).unwrap();
    parent.root().request::<Value>(request).await.unwrap();
    grant(&parent, "both").await;
    let fork = parent.fork().await;
    grant(&parent, "here").await;
    grant(&fork, "there").await;
    let may = async |world: &World, name: &str| {
        let user = User { name: name.into(), ..User::default() };
        code(maps(&world.client_of(user)).list(&ListParams::default()).await)
    };
    for (name, in_parent, in_fork) in [("both", 200, 200), ("here", 200, 403), ("there", 403, 200)] {
        assert_eq!((may(&parent, name).await, may(&fork, name).await), (in_parent, in_fork), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_hold_where_their_account_is() {
    let parent = World::start().await;
    parent.account(&parent.root(), "default").await;
    let token = async |world: &World, account: &str| {
        let accounts: Api<ServiceAccount> = Api::namespaced(world.root(), "default");
        let asked = serde_json::from_value(json!({"spec": {"audiences": []}})).unwrap();
        let made = accounts.create_token_request(account, &PostParams::default(), &asked).await.unwrap();
        made.status.unwrap().token.unwrap()
    };
    let old = token(&parent, "default").await;
    let fork = parent.fork().await;
    let accounts: Api<ServiceAccount> = Api::namespaced(fork.root(), "default");
    let account = serde_json::from_value(json!({"metadata": {"name": "forks"}})).unwrap();
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let new = token(&fork, "forks").await;
    // Nobody granted them anything: 403 is a token that is good, 401 one that is not.
    let answer = async |world: &World, token: &str| {
        code(maps(&world.bearer(token).await).list(&ListParams::default()).await)
    };
    assert_eq!((answer(&parent, &old).await, answer(&fork, &old).await), (403, 403));
    assert_eq!((answer(&parent, &new).await, answer(&fork, &new).await), (401, 403));
    accounts.delete("default", &DeleteParams::default()).await.unwrap();
    // A deleted account's tokens are good for another minute, as the reference has it; a new account's are not its.
    let again = serde_json::from_value(json!({"metadata": {"name": "default"}})).unwrap();
    accounts.create(&PostParams::default(), &again).await.unwrap();
    assert_eq!((answer(&parent, &old).await, answer(&fork, &old).await), (403, 401));
}

#[tokio::test(flavor = "multi_thread")]
async fn service_addresses_are_given_out_apart() {
    let parent = World::start().await;
    let service = |name: &str, ip: &str| -> Service {
        let spec = json!({"clusterIP": ip, "ports": [{"port": 80}]});
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
    };
    let create = async |world: &World, s: Service| {
        let services: Api<Service> = Api::namespaced(world.root(), "default");
        code(services.create(&PostParams::default(), &s).await)
    };
    assert_eq!(create(&parent, service("a", "10.96.7.1")).await, 200);
    let fork = parent.fork().await;
    assert_eq!(create(&fork, service("b", "10.96.7.1")).await, 422, "what is taken is known");
    assert_eq!(create(&fork, service("b", "10.96.7.2")).await, 200);
    assert_eq!(create(&parent, service("c", "10.96.7.2")).await, 200);
    let services: Api<Service> = Api::namespaced(fork.root(), "default");
    services.delete("a", &DeleteParams::default()).await.unwrap();
    assert_eq!(create(&fork, service("d", "10.96.7.1")).await, 200);
    assert_eq!(create(&parent, service("d", "10.96.7.1")).await, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_a_fork_are_records() {
    let parent = World::start().await;
    parent.account(&parent.root(), "default").await;
    let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "example.com/app:1"}]}}))
    .unwrap();
    Api::<Pod>::namespaced(parent.root(), "default").create(&PostParams::default(), &pod).await.unwrap();
    let fork = parent.fork().await;
    let pods = |world: &World| Api::<Pod>::namespaced(world.root(), "default");
    let refused = pods(&fork).logs("p", &Default::default()).await.unwrap_err().to_string();
    assert!(refused.contains("a fork has no node"), "{refused}");
    for world in [&parent, &fork] {
        pods(world).delete("p", &DeleteParams::default()).await.unwrap();
    }
    assert_eq!(code(pods(&fork).get("p").await), 404, "no kubelet would ever say that it has ended");
    let waiting = pods(&parent).get("p").await.unwrap();
    assert_eq!(waiting.metadata.deletion_grace_period_seconds, Some(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_takes_back_what_was_done_since() {
    let world = World::start().await;
    let admin = world.admin().await;
    create(&admin, "a").await;
    assert_eq!(told(&admin, "PUT", "snapshots/base").await.0, 201);
    let (before, since) = (world.state(), world.server.store().revision());
    maps(&admin).delete("a", &DeleteParams::default()).await.unwrap();
    create(&admin, "a").await;
    create(&admin, "b").await;
    let (status, done) = told(&admin, "POST", "snapshots/base/restore").await;
    assert_eq!(
        (status, &done["created"], &done["changed"], &done["deleted"]),
        (200, &json!(1), &json!(0), &json!(2))
    );
    assert_eq!(world.state(), before);
    assert_eq!(watched(&admin, since).await, ["-a", "+a", "+b", "-a", "-b", "+a"]);
    assert_eq!(told(&admin, "DELETE", "snapshots/base").await.0, 200);
    let (status, gone) = told(&admin, "POST", "snapshots/base/restore").await;
    assert_eq!((status, &gone["message"]), (404, &json!("snapshots \"base\" not found")));
    assert_eq!(told(&admin, "PUT", "snapshots/No%20Name").await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_all_that_one_transaction_did() {
    let world = World::start().await;
    create(&world.root(), "a").await;
    create(&world.root(), "b").await;
    let since = world.server.store().revision();
    let ops = ["a", "b"].map(|name| Op::Delete(format!("/registry/configmaps/default/{name}").into()));
    world.server.store().commit(Txn { checks: Vec::new(), ops: ops.into() }).await.unwrap();
    assert_eq!(watched(&world.root(), since).await, ["-a", "-b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_another_cluster_replaces_everything() {
    let (one, other) = (World::start().await, World::start().await);
    one.account(&one.root(), "default").await;
    create(&one.root(), "ones").await;
    create(&other.root(), "others").await;
    let (status, file) = ask(&one.admin().await, "GET", "snapshot", Vec::new()).await;
    assert_eq!(status, 200);
    let (status, done) = ask(&other.admin().await, "PUT", "snapshot", file.clone()).await;
    let done: Value = serde_json::from_slice(&done).unwrap();
    assert_eq!((status, &done["sameCluster"]), (200, &json!(false)));
    // All but what a server says of its own address.
    let without_endpoints = |world: &World| {
        let mut state = world.state();
        state.retain(|(key, _)| !key.contains("endpoint"));
        state
    };
    assert_eq!(without_endpoints(&other), without_endpoints(&one));
    let endpoints = |world: &World| {
        let found = world.state().into_iter().find(|(key, _)| key.contains("endpoints/default/kubernetes"));
        found.unwrap().1["subsets"][0]["ports"][0]["port"].clone()
    };
    assert_eq!(endpoints(&other), json!(other.port));
    let (status, done) = ask(&one.admin().await, "PUT", "snapshot", file).await;
    let done: Value = serde_json::from_slice(&done).unwrap();
    assert_eq!((status, &done["sameCluster"], &done["created"]), (200, &json!(true), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_whole_changes_nothing() {
    let world = World::start().await;
    let admin = world.admin().await;
    let (_, file) = ask(&admin, "GET", "snapshot", Vec::new()).await;
    create(&admin, "since").await;
    let before = world.server.store().revision();
    let flipped = |at: usize| {
        let mut damaged = file.clone();
        damaged[at] ^= 1;
        damaged
    };
    let newer = String::from_utf8_lossy(&file[..60]).replace("format 1", "format 2").into_bytes();
    let cases = [
        (Vec::new(), "it is no snapshot of a cluster"),
        (b"SQLite format 3".to_vec(), "it is no snapshot of a cluster"),
        ([newer, b"\n\n".to_vec()].concat(), "it has format 2, this program reads format 1"),
        (file[..file.len() / 2].to_vec(), "it is cut off: it ends after"),
        (flipped(file.len() - 1), "it is damaged: its checksum is not that of its content"),
        (flipped(file.len() / 2), "it is damaged: its"),
        ([file.clone(), vec![0]].concat(), "it is damaged: it goes on after its end"),
    ];
    for (body, why) in cases {
        let (status, said) = ask(&admin, "PUT", "snapshot", body).await;
        let said: Value = serde_json::from_slice(&said).unwrap();
        let message = said["message"].as_str().unwrap();
        assert_eq!(status, 400, "{message}");
        assert!(message.starts_with(&format!("cannot restore the snapshot: {why}")), "{message}");
    }
    assert_eq!((world.server.store().revision(), names(&admin).await), (before, vec!["since".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_for_those_who_may_have_the_path() {
    let world = World::start().await;
    let jane = world.client_of(User { name: "jane".into(), ..User::default() });
    for (method, path) in [("GET", "snapshot"), ("PUT", "snapshot"), ("POST", "forks"), ("GET", "forks")] {
        assert_eq!(ask(&jane, method, path, Vec::new()).await.0, 403, "{method} {path}");
    }
    let role = json!({"metadata": {"name": "saver"},
        "rules": [{"nonResourceURLs": ["/coracle/v1/snapshot"], "verbs": ["get"]}]});
    let binding = json!({"metadata": {"name": "saver"}, "subjects": [{"kind": "User", "name": "jane"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "saver"}});
    for (plural, body) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let path = format!("/apis/rbac.authorization.k8s.io/v1/{plural}");
        let request = http::Request::post(path).body(body.to_string().into_bytes()).unwrap();
        world.root().request::<Value>(request).await.unwrap();
    }
    assert_eq!(ask(&jane, "GET", "snapshot", Vec::new()).await.0, 200);
    assert_eq!(ask(&jane, "PUT", "snapshot", Vec::new()).await.0, 403);
    assert_eq!(ask(&world.root(), "POST", "forks", Vec::new()).await.0, 400, "nobody here makes forks");
    assert_eq!(ask(&world.root(), "POST", "snapshot", Vec::new()).await.0, 405);
    assert_eq!(ask(&world.root(), "GET", "nothing", Vec::new()).await.0, 404);
}
