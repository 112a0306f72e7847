//! What a client generated from Go's types does, all in protobuf, and what the same server tells a client in JSON.
//! Bodies are written, and answers read a second time, by messages that are not this project's (`k8s-pb`).

use bytes::{Buf, Bytes};
use coracle_api::catalog::{Catalog, api_version};
use coracle_api::codec::{encode, json as codec_json, protobuf};
use coracle_api::schema::Schemas;
use coracle_api::{Kind, User};
use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use k8s_pb::api::{
    apps, autoscaling, batch, coordination, core, discovery, networking, node, policy, rbac, scheduling,
    storage,
};
use k8s_pb::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_pb::apimachinery::pkg::runtime::{TypeMeta, Unknown};
use prost::Message;
use serde_json::{Value, json};
use tower::Service;

use crate::World;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// One kind that the client works with.
struct Row {
    group: &'static str,
    plural: &'static str,
    /// What the object says besides its metadata.
    object: Value,
    /// A message through the foreign types.
    again: fn(&[u8]) -> Vec<u8>,
}

fn again<M: Message + Default>(raw: &[u8]) -> Vec<u8> {
    M::decode(raw).expect("the message is of its type").encode_to_vec()
}

fn row<M: Message + Default>(group: &'static str, plural: &'static str, object: Value) -> Row {
    Row { group, plural, object, again: again::<M> }
}

fn core_rows() -> Vec<Row> {
    let pod = json!({"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}],
        "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}}, "env": [{"name": "A", "value": "b"}],
        "livenessProbe": {"httpGet": {"port": "web", "path": "/"}}}], "volumes": [{"name": "v", "emptyDir": {}}]});
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod});
    vec![
        row::<core::v1::ConfigMap>(
            "",
            "configmaps",
            json!({"data": {"k": "v"}, "binaryData": {"b": "AAE="}}),
        ),
        row::<core::v1::Secret>("", "secrets", json!({"data": {"k": "aGk="}, "type": "Opaque"})),
        row::<core::v1::ServiceAccount>(
            "",
            "serviceaccounts",
            json!({"automountServiceAccountToken": false}),
        ),
        row::<core::v1::Pod>("", "pods", json!({"spec": pod})),
        row::<core::v1::Endpoints>(
            "",
            "endpoints",
            json!({"subsets": [{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}]}),
        ),
        row::<core::v1::LimitRange>(
            "",
            "limitranges",
            json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}}]}}),
        ),
        row::<core::v1::ResourceQuota>("", "resourcequotas", json!({"spec": {"hard": {"secrets": "100"}}})),
        row::<core::v1::PersistentVolumeClaim>(
            "",
            "persistentvolumeclaims",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
        ),
        row::<core::v1::PodTemplate>("", "podtemplates", json!({"template": template})),
        row::<core::v1::ReplicationController>(
            "",
            "replicationcontrollers",
            json!({"spec": {"replicas": 0, "selector": {"a": "b"}, "template": template}}),
        ),
        row::<apps::v1::Deployment>(
            "apps",
            "deployments",
            json!({"spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template,
                "strategy": {"rollingUpdate": {"maxSurge": "10%", "maxUnavailable": 1}}}}),
        ),
        row::<apps::v1::DaemonSet>(
            "apps",
            "daemonsets",
            json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}),
        ),
        row::<apps::v1::StatefulSet>(
            "apps",
            "statefulsets",
            json!({"spec": {"serviceName": "s", "selector": {"matchLabels": {"a": "b"}}, "template": template}}),
        ),
        row::<batch::v1::CronJob>(
            "batch",
            "cronjobs",
            json!({"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template":
                {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}}),
        ),
    ]
}

fn group_rows() -> Vec<Row> {
    let subject = json!([{"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"}]);
    let rules = json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]});
    vec![
        row::<networking::v1::Ingress>(
            "networking.k8s.io",
            "ingresses",
            json!({"spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}}),
        ),
        row::<networking::v1::NetworkPolicy>(
            "networking.k8s.io",
            "networkpolicies",
            json!({"spec": {"podSelector": {}, "ingress": [{"ports": [{"port": "web"}]}]}}),
        ),
        row::<policy::v1::PodDisruptionBudget>(
            "policy",
            "poddisruptionbudgets",
            json!({"spec": {"minAvailable": "50%", "selector": {"matchLabels": {"a": "b"}}}}),
        ),
        row::<rbac::v1::Role>("rbac.authorization.k8s.io", "roles", rules.clone()),
        row::<rbac::v1::ClusterRole>("rbac.authorization.k8s.io", "clusterroles", rules),
        row::<rbac::v1::RoleBinding>(
            "rbac.authorization.k8s.io",
            "rolebindings",
            json!({"subjects": subject, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}}),
        ),
        row::<coordination::v1::Lease>(
            "coordination.k8s.io",
            "leases",
            json!({"spec": {"holderIdentity": "h", "renewTime": "2026-01-02T03:04:05.000006Z"}}),
        ),
        row::<discovery::v1::EndpointSlice>(
            "discovery.k8s.io",
            "endpointslices",
            json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.2.3"]}], "ports": [{"port": 80}]}),
        ),
        row::<autoscaling::v2::HorizontalPodAutoscaler>(
            "autoscaling",
            "horizontalpodautoscalers",
            json!({"spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}}}),
        ),
        row::<storage::v1::StorageClass>(
            "storage.k8s.io",
            "storageclasses",
            json!({"provisioner": "p", "parameters": {"a": "b"}, "mountOptions": ["m"]}),
        ),
        row::<scheduling::v1::PriorityClass>("scheduling.k8s.io", "priorityclasses", json!({"value": 7})),
        row::<node::v1::RuntimeClass>("node.k8s.io", "runtimeclasses", json!({"handler": "h"})),
    ]
}

struct Client<'a> {
    world: &'a World,
    schemas: Schemas,
    kind: std::sync::Arc<Kind>,
    again: fn(&[u8]) -> Vec<u8>,
    path: String,
}

impl Client<'_> {
    async fn send(
        &self,
        method: &str,
        path: &str,
        accept: &str,
        content: &str,
        body: Vec<u8>,
    ) -> (u16, String, Bytes) {
        let groups = vec!["system:masters".into()];
        let root = User { name: "root".into(), groups, ..User::default() };
        let request = Request::builder().method(method).uri(path).header(ACCEPT, accept);
        let request = request.header(CONTENT_TYPE, content).body(Full::new(Bytes::from(body))).unwrap();
        let answer = self.world.server.local(root).call(request).await.unwrap();
        let media = answer.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
        (answer.status().as_u16(), media, answer.into_body().collect().await.unwrap().to_bytes())
    }

    /// An answer in JSON, with every key in its place.
    async fn json(&self, method: &str, path: &str, body: &Value) -> String {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let (code, _, answer) = self.send(method, path, JSON, JSON, body).await;
        assert!(code < 300, "{method} {path}: {answer:?}");
        self.canonical(codec_json::parse(&answer).unwrap().value)
    }

    /// An answer in protobuf as JSON, read by this project, and again after the foreign types have read and written it.
    async fn protobuf(&self, method: &str, path: &str, content: &str, body: Vec<u8>) -> String {
        let (code, media, answer) = self.send(method, path, PROTOBUF, content, body).await;
        assert!(code < 300, "{method} {path}: {answer:?}");
        assert_eq!(media, PROTOBUF, "{method} {path}");
        self.read(&answer)
    }

    fn read(&self, body: &[u8]) -> String {
        let read = self.canonical(protobuf::decode(&self.schemas, body, "").unwrap());
        let envelope = Unknown::decode(body.strip_prefix(b"k8s\0").unwrap()).unwrap();
        let ty = envelope.type_meta.unwrap();
        if ty.kind() == &*self.kind.kind {
            let again = wrap(&self.kind, &(self.again)(&envelope.raw.unwrap()));
            let again = self.canonical(protobuf::decode(&self.schemas, &again, "").unwrap());
            assert_eq!(again, read, "the foreign types read the same");
        }
        read
    }

    fn canonical(&self, value: Value) -> String {
        let kind = value["kind"].as_str().unwrap();
        let definition = match kind {
            "Status" => "io.k8s.apimachinery.pkg.apis.meta.v1.Status".to_owned(),
            kind if kind == self.kind.list_kind() => format!("{}List", self.kind.schema),
            kind => {
                assert_eq!(kind, self.kind.kind);
                self.kind.schema.to_string()
            }
        };
        let shaped = self.schemas.shape_as(&definition, value).unwrap();
        assert!(shaped.unknown.is_empty(), "{:?}", shaped.unknown);
        String::from_utf8(encode::compact(&shaped.value)).unwrap()
    }

    /// A body as the foreign types write it.
    fn body(&self, object: &Value) -> Vec<u8> {
        let shaped = self.schemas.shape(&self.kind, object.clone()).unwrap().value;
        let message = protobuf::message(&self.schemas, &self.kind.schema, &shaped).unwrap();
        wrap(&self.kind, &(self.again)(&message))
    }

    async fn watch(&self, accept: &str) -> Bytes {
        let path = format!(
            "{}?watch=1&resourceVersion=1&timeoutSeconds=1&fieldSelector=metadata.name%3Da",
            self.path
        );
        self.send("GET", &path, accept, JSON, Vec::new()).await.2
    }
}

fn wrap(kind: &Kind, message: &[u8]) -> Vec<u8> {
    envelope(&kind.api_version(), &kind.kind, message.to_vec())
}

fn envelope(api_version: &str, kind: &str, raw: Vec<u8>) -> Vec<u8> {
    let type_meta = TypeMeta { api_version: Some(api_version.into()), kind: Some(kind.into()) };
    let unknown = Unknown { type_meta: Some(type_meta), raw: Some(raw), ..Unknown::default() };
    [b"k8s\0".as_slice(), &unknown.encode_to_vec()].concat()
}

/// client-go names the options in the group of what is deleted.
fn delete_options(kind: &Kind) -> Vec<u8> {
    let options = meta::DeleteOptions {
        propagation_policy: Some("Background".into()),
        grace_period_seconds: Some(0),
        ..meta::DeleteOptions::default()
    };
    envelope(&api_version(&kind.group, &kind.version), "DeleteOptions", options.encode_to_vec())
}

async fn life(world: &World, row: Row) {
    let kind = Catalog::builtin().find_any_version(row.group, row.plural).unwrap();
    let prefix =
        if kind.group.is_empty() { "/api/v1".into() } else { format!("/apis/{}", kind.api_version()) };
    let within = if kind.is_namespaced() { "/namespaces/default" } else { "" };
    let path = format!("{prefix}{within}/{}", kind.plural);
    let client = Client { world, schemas: Schemas::builtin(), kind: kind.clone(), again: row.again, path };
    let path = &client.path;
    let one = format!("{path}/a");
    let named = |name: &str| {
        let mut object = row.object.clone();
        object["kind"] = json!(kind.kind);
        object["apiVersion"] = json!(kind.api_version());
        object["metadata"] = json!({"name": name, "labels": {"proof": "yes"}});
        object
    };

    let made = client.protobuf("POST", path, PROTOBUF, client.body(&named("a"))).await;
    assert_eq!(made, client.json("GET", &one, &Value::Null).await, "create");
    assert_eq!(client.protobuf("GET", &one, JSON, Vec::new()).await, made, "get");

    let mut changed: Value = serde_json::from_str(&made).unwrap();
    changed["metadata"]["annotations"] = json!({"x": "y"});
    let put = client.protobuf("PUT", &one, PROTOBUF, client.body(&changed)).await;
    assert!(put.contains(r#""annotations":{"x":"y"}"#), "{put}");
    assert_eq!(put, client.json("GET", &one, &Value::Null).await, "update");
    // Storage is kept while it is used, and no controller is here to let go of it.
    let free = json!({"metadata": {"finalizers": null}}).to_string().into_bytes();
    let patch =
        json!({"metadata": {"labels": {"patched": "yes"}, "finalizers": null}}).to_string().into_bytes();
    let patched = client.protobuf("PATCH", &one, MERGE_PATCH, patch).await;
    assert!(patched.contains(r#""patched":"yes""#), "{patched}");
    assert_eq!(patched, client.json("GET", &one, &Value::Null).await, "patch");

    client.protobuf("POST", path, PROTOBUF, client.body(&named("b"))).await;
    client.protobuf("PATCH", &format!("{path}/b"), MERGE_PATCH, free).await;
    let chosen = format!("{path}?labelSelector=proof%3Dyes");
    let list = client.protobuf("GET", &chosen, JSON, Vec::new()).await;
    // A list is of the revision at which it was read, and others write meanwhile.
    let unversioned = |text: &str| {
        let mut list: Value = serde_json::from_str(text).unwrap();
        list["metadata"] = Value::Null;
        list
    };
    let list = unversioned(&list);
    assert_eq!(list, unversioned(&client.json("GET", &chosen, &Value::Null).await), "list");
    assert_eq!(list["items"].as_array().unwrap().len(), 2);

    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background",
        "gracePeriodSeconds": 0});
    let told = client.json("DELETE", &format!("{one}?dryRun=All"), &options).await;
    let gone = client.protobuf("DELETE", &one, PROTOBUF, delete_options(&kind)).await;
    // What is not tried says its own revision.
    assert_eq!(unversioned(&gone), unversioned(&told), "delete");
    let told = client.json("DELETE", &format!("{chosen}&dryRun=All"), &options).await;
    let gone = client.protobuf("DELETE", &chosen, PROTOBUF, delete_options(&kind)).await;
    assert_eq!(unversioned(&gone), unversioned(&told), "deletecollection");
    assert_eq!(client.send("GET", &format!("{path}/b"), PROTOBUF, JSON, Vec::new()).await.0, 404);
    watches_agree(&client).await;
}

/// The history of one object, told in both encodings.
async fn watches_agree(client: &Client<'_>) {
    let (mut frames, lines) = tokio::join!(client.watch(PROTOBUF), client.watch(JSON));
    let mut told = Vec::new();
    while frames.has_remaining() {
        let length = frames.get_u32() as usize;
        let event = meta::WatchEvent::decode(frames.split_to(length)).unwrap();
        told.push((event.r#type.unwrap(), client.read(&event.object.unwrap().raw.unwrap())));
    }
    let lines = lines.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let same: Vec<_> = lines
        .map(|line| {
            let mut event = codec_json::parse(line).unwrap().value;
            (event["type"].as_str().unwrap().to_owned(), client.canonical(event["object"].take()))
        })
        .collect();
    let words: Vec<&str> = told.iter().map(|(word, _)| word.as_str()).collect();
    assert_eq!(words, ["ADDED", "MODIFIED", "MODIFIED", "DELETED"], "{:?}", client.kind);
    assert_eq!(told, same, "watch");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_in_protobuf_is_told_what_one_in_json_is() {
    let world = World::start().await;
    world.account(&world.admin().await, "default").await;
    let rows: Vec<Row> = core_rows().into_iter().chain(group_rows()).collect();
    assert!(rows.len() >= 20);
    futures::future::join_all(rows.into_iter().map(|row| life(&world, row))).await;
}
