//! The addresses of Services as objects: made, removed and mended with them.

use std::net::Ipv4Addr;
use std::time::Duration;

use coracle_apiserver::{Cidr, Config, Server};
use coracle_clock::Clock;
use coracle_store::{Expect, Txn};
use futures::future::join_all;
use kube::Client;
use serde_json::{Value, json};

use crate::World;
use crate::proofs::denials::root;

const SERVICES: &str = "/api/v1/namespaces/default/services";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";
const CIDRS: &str = "/apis/networking.k8s.io/v1/servicecidrs";

async fn small(bits: u8) -> World {
    World::start_with(|config| config.service_cidr = Cidr { base: Ipv4Addr::new(10, 96, 0, 0), bits }).await
}

/// The code and the body of an answer to the root of a server.
async fn told(client: &Client, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let request =
        http::Request::builder().method(method).uri(path).header("content-type", "application/json");
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let answer = client.request::<Value>(request.body(body).unwrap()).await;
    match answer {
        Ok(body) => (200, body),
        Err(kube::Error::Api(status)) => (status.code, json!({"message": status.message})),
        Err(other) => panic!("{other}"),
    }
}

fn service(name: &str, ip: &str) -> Value {
    let mut spec = json!({"ports": [{"port": 80}]});
    if !ip.is_empty() {
        spec["clusterIP"] = json!(ip);
    }
    json!({"metadata": {"name": name}, "spec": spec})
}

async fn make(client: &Client, name: &str, ip: &str) -> String {
    let (code, made) = told(client, "POST", SERVICES, &service(name, ip)).await;
    assert_eq!(code, 200, "{made}");
    made["spec"]["clusterIP"].as_str().unwrap().to_owned()
}

/// The addresses that there are, each with its Service.
async fn allocated(client: &Client) -> Vec<String> {
    let (_, list) = told(client, "GET", ADDRESSES, &Value::Null).await;
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let of = |a: &Value| {
        let parent = &a["spec"]["parentRef"];
        format!("{} {}/{}", text(&a["metadata"]["name"]), text(&parent["namespace"]), text(&parent["name"]))
    };
    list["items"].as_array().unwrap().iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_comes_and_goes_with_its_service() {
    let world = World::start().await;
    let client = world.client_of(root());
    assert_eq!(allocated(&client).await, ["10.96.0.1 default/kubernetes"]);
    let ip = make(&client, "a", "").await;
    let (_, address) = told(&client, "GET", &format!("{ADDRESSES}/{ip}"), &Value::Null).await;
    assert_eq!(
        (&address["spec"], &address["metadata"]["labels"]),
        (
            &json!({"parentRef": {"resource": "services", "namespace": "default", "name": "a"}}),
            &json!({"ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"})
        )
    );
    // In one transaction: both have one version.
    let (_, made) = told(&client, "GET", &format!("{SERVICES}/a"), &Value::Null).await;
    assert_eq!(made["metadata"]["resourceVersion"], address["metadata"]["resourceVersion"]);
    let mut external = made.clone();
    external["spec"] = json!({"type": "ExternalName", "externalName": "example.com"});
    assert_eq!(told(&client, "PUT", &format!("{SERVICES}/a"), &external).await.0, 200);
    assert_eq!(allocated(&client).await.len(), 1);
    external["spec"] = json!({"type": "ClusterIP", "clusterIP": ip, "ports": [{"port": 80}]});
    external["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    assert_eq!(told(&client, "PUT", &format!("{SERVICES}/a"), &external).await.0, 200);
    assert_eq!(allocated(&client).await.len(), 2);
    assert_eq!(told(&client, "DELETE", &format!("{SERVICES}/a"), &Value::Null).await.0, 200);
    assert_eq!(allocated(&client).await, ["10.96.0.1 default/kubernetes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_cannot_be_had_is_refused_in_the_references_words() {
    let world = World::start().await;
    let client = world.client_of(root());
    make(&client, "a", "10.96.7.7").await;
    let refused = async |path: &str, ip: &str| {
        let (code, status) = told(&client, "POST", path, &service("b", ip)).await;
        assert_eq!(code, 422);
        status["message"].as_str().unwrap().to_owned()
    };
    let why = |ip: &str, why: &str| {
        format!(
            "Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"{ip}\"]: failed to allocate IP {ip}: {why}"
        )
    };
    let dry = format!("{SERVICES}?dryRun=All");
    assert_eq!(refused(SERVICES, "10.96.7.7").await, why("10.96.7.7", "provided IP is already allocated"));
    let mismatch = "the provided network does not match the current range";
    for ip in ["10.95.0.1", "10.96.0.0", "10.111.255.255"] {
        assert_eq!(refused(SERVICES, ip).await, why(ip, mismatch));
    }
    let range =
        "the provided IP (10.95.0.1) is not in the valid range. The range of valid IPs is 10.96.0.0/12";
    assert_eq!(refused(&dry, "10.95.0.1").await, why("10.95.0.1", range));
    let (_, made) = told(&client, "POST", &dry, &service("b", "")).await;
    assert_eq!(made["spec"]["clusterIP"], "10.96.0.0", "nobody looks for one");
    let mut dual = service("b", "");
    dual["spec"]["ipFamilyPolicy"] = json!("RequireDualStack");
    let (_, status) = told(&client, "POST", SERVICES, &dual).await;
    let words = "Service \"b\" is invalid: spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is \
                 not configured for dual-stack services";
    assert_eq!(status["message"], words);
    dual["spec"] = json!({"ports": [{"port": 80}], "ipFamilies": ["IPv6"]});
    let (_, status) = told(&client, "POST", SERVICES, &dual).await;
    let words = "Service \"b\" is invalid: spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster";
    assert_eq!(status["message"], words);
    assert_eq!(allocated(&client).await, ["10.96.0.1 default/kubernetes", "10.96.7.7 default/a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_range_is_made_larger_by_another() {
    let world = small(29).await;
    let client = world.client_of(root());
    for name in ["a", "b", "c", "d", "e"] {
        make(&client, name, "").await;
    }
    let (code, status) = told(&client, "POST", SERVICES, &service("f", "")).await;
    let words = "Internal error occurred: failed to allocate a serviceIP: range is full";
    assert_eq!((code, status["message"].as_str()), (500, Some(words)));
    let more = json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.200.0.0/28"]}});
    assert_eq!(told(&client, "POST", CIDRS, &more).await.0, 200);
    let ip: Ipv4Addr = make(&client, "f", "").await.parse().unwrap();
    assert_eq!(ip.octets()[..3], [10, 200, 0]);
    // Nothing more comes from where somebody says that it is not ready.
    let not_ready = json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.200.0.0/28"]},
        "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    assert_eq!(told(&client, "PUT", &format!("{CIDRS}/more/status"), &not_ready).await.0, 200);
    assert_eq!(told(&client, "POST", SERVICES, &service("g", "")).await.0, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_on_one_store_give_an_address_out_once() {
    let world = small(26).await;
    let mut config = Config::new(world.server.store().clone(), world.pki.clone(), Clock::system());
    config.service_cidr = Cidr { base: Ipv4Addr::new(10, 96, 0, 0), bits: 26 };
    let second = Server::start(config).await.unwrap();
    let clients = [world.client_of(root()), Client::new(second.local(root()), "default")];
    // 62 addresses, one of them taken: all of the rest are asked for at once, each server at its own pace.
    let asked = (0..61).map(|n| {
        let client = clients[n % 2].clone();
        async move { make(&client, &format!("s{n}"), "").await }
    });
    let mut given = join_all(asked).await;
    given.sort();
    given.dedup();
    assert_eq!((given.len(), allocated(&clients[0]).await.len()), (61, 62));
    // And of all who want one address, one gets it.
    let asked = (0..8).map(|n| {
        let client = clients[n % 2].clone();
        async move { told(&client, "POST", SERVICES, &service(&format!("t{n}"), "10.96.0.9")).await.0 }
    });
    assert_eq!(
        told(&clients[0], "DELETE", &owner(&clients[0], "10.96.0.9").await, &Value::Null).await.0,
        200
    );
    let codes = join_all(asked).await;
    assert_eq!(codes.iter().filter(|code| **code == 200).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 422).count(), 7, "{codes:?}");
}

/// The path of the Service that has an address.
async fn owner(client: &Client, ip: &str) -> String {
    let (_, address) = told(client, "GET", &format!("{ADDRESSES}/{ip}"), &Value::Null).await;
    format!("{SERVICES}/{}", address["spec"]["parentRef"]["name"].as_str().unwrap())
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    for _ in 0..500 {
        if holds().await {
            return;
        }
        Clock::system().sleep(Duration::from_millis(10)).await;
    }
    panic!("not within five seconds: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_edited_by_hand_is_mended() {
    let world = World::start().await;
    let client = world.client_of(root());
    let ip = make(&client, "a", "").await;
    let path = format!("{ADDRESSES}/{ip}");
    let (_, first) = told(&client, "GET", &path, &Value::Null).await;
    assert_eq!(told(&client, "DELETE", &path, &Value::Null).await.0, 200);
    until("the IPAddress is back", async || told(&client, "GET", &path, &Value::Null).await.0 == 200).await;
    let (_, mut second) = told(&client, "GET", &path, &Value::Null).await;
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
    assert_eq!(first["spec"], second["spec"]);
    second["metadata"]["labels"] = json!({});
    assert_eq!(told(&client, "PUT", &path, &second).await.0, 200);
    until("the labels are back", async || {
        told(&client, "GET", &path, &Value::Null).await.1["metadata"]["labels"] == first["metadata"]["labels"]
    })
    .await;
    // Of another controller, and so nobody's business.
    let other = json!({"metadata": {"name": "10.97.0.9"}, "spec": {"parentRef": {"group": "gateway.networking.k8s.io",
        "resource": "gateways", "namespace": "default", "name": "g"}}});
    assert_eq!(told(&client, "POST", ADDRESSES, &other).await.0, 200);
    assert_eq!(told(&client, "POST", SERVICES, &service("b", "10.97.0.9")).await.0, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_are_older_than_their_addresses_get_them_at_the_start() {
    let world = World::start().await;
    let client = world.client_of(root());
    let ip = make(&client, "a", "").await;
    world.server.stop().await;
    let store = world.server.store().clone();
    store.commit(Txn::delete(format!("/registry/ipaddresses/{ip}"), Expect::Any)).await.unwrap();
    let second = Server::start(Config::new(store, world.pki.clone(), Clock::system())).await.unwrap();
    let client = Client::new(second.local(root()), "default");
    assert!(allocated(&client).await.contains(&format!("{ip} default/a")));
}
