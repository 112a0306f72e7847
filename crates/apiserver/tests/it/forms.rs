//! The same objects in every form that a client may ask for, read back by decoders that are not this project's.

use bytes::{Buf, Bytes};
use coracle_api::User;
use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use k8s_pb::api::core::v1 as core;
use k8s_pb::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_pb::apimachinery::pkg::runtime::Unknown;
use prost::Message;
use serde_json::{Value, json};
use tower::Service;

use super::World;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const METADATA: &str =
    "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

struct Answer {
    code: u16,
    media: String,
    body: Bytes,
}

impl World {
    async fn ask(&self, method: &str, path: &str, accept: &str, body: &Value) -> Answer {
        let groups = vec!["system:masters".into()];
        let root = User { name: "root".into(), groups, ..User::default() };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request::builder().method(method).uri(path).header(ACCEPT, accept);
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let answer = self.server.local(root).call(request).await.unwrap();
        let media = answer.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
        let code = answer.status().as_u16();
        Answer { code, media, body: answer.into_body().collect().await.unwrap().to_bytes() }
    }

    async fn get(&self, path: &str, accept: &str) -> Answer {
        self.ask("GET", path, accept, &Value::Null).await
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.ask("POST", path, "application/json", body).await;
        assert_eq!(answer.code, 201, "{:?}", answer.body);
        serde_json::from_slice(&answer.body).unwrap()
    }

    async fn maps(&self, names: &[&str]) {
        for name in names {
            self.post(MAPS, &json!({"metadata": {"name": name, "labels": {"l": name}}, "data": {"k": name}}))
                .await;
        }
    }
}

/// What is in an envelope: version, kind, message.
fn open(body: &[u8]) -> (String, String, Vec<u8>) {
    let unknown = Unknown::decode(body.strip_prefix(b"k8s\0").unwrap()).unwrap();
    let ty = unknown.type_meta.unwrap();
    (ty.api_version.unwrap(), ty.kind.unwrap(), unknown.raw.unwrap())
}

fn message<M: Message + Default>(answer: &Answer, version: &str, kind: &str) -> M {
    assert_eq!(answer.media, PROTOBUF);
    let (found_version, found_kind, raw) = open(&answer.body);
    assert_eq!((found_version.as_str(), found_kind.as_str()), (version, kind));
    M::decode(raw.as_slice()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_and_lists_are_messages_to_who_asks_for_them() {
    let world = World::start().await;
    world.maps(&["a", "b"]).await;
    let one: core::ConfigMap = message(&world.get(&format!("{MAPS}/a"), PROTOBUF).await, "v1", "ConfigMap");
    assert_eq!(one.data["k"], "a");
    let revision = one.metadata.unwrap().resource_version.unwrap();
    // What is made once is what the next reader gets.
    for _ in 0..2 {
        let list: core::ConfigMapList = message(&world.get(MAPS, PROTOBUF).await, "v1", "ConfigMapList");
        let values: Vec<_> = list.items.iter().map(|m| m.data["k"].as_str()).collect();
        assert_eq!(values, ["a", "b"]);
        assert_eq!(list.items[0].metadata.as_ref().unwrap().resource_version.as_ref().unwrap(), &revision);
        assert!(list.metadata.unwrap().resource_version.unwrap() > revision);
    }
    let page: core::ConfigMapList =
        message(&world.get(&format!("{MAPS}?limit=1"), PROTOBUF).await, "v1", "ConfigMapList");
    let page = page.metadata.unwrap();
    assert!(!page.r#continue.unwrap().is_empty());
    assert_eq!(page.remaining_item_count, Some(1));
    let none: core::ConfigMapList =
        message(&world.get(&format!("{MAPS}?labelSelector=l%3Dx"), PROTOBUF).await, "v1", "ConfigMapList");
    assert!(none.items.is_empty());
    let missing = world.get(&format!("{MAPS}/x"), PROTOBUF).await;
    assert_eq!(missing.code, 404);
    let status: meta::Status = message(&missing, "v1", "Status");
    assert_eq!((status.code, status.reason.unwrap().as_str()), (Some(404), "NotFound"));
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_alone_is_a_part_of_the_message() {
    let world = World::start().await;
    world.maps(&["a", "b"]).await;
    let list: meta::PartialObjectMetadataList =
        message(&world.get(MAPS, METADATA).await, "meta.k8s.io/v1", "PartialObjectMetadataList");
    let labels: Vec<_> =
        list.items.iter().map(|i| i.metadata.as_ref().unwrap().labels["l"].as_str()).collect();
    assert_eq!(labels, ["a", "b"]);
    let json = METADATA.replace("vnd.kubernetes.protobuf", "json");
    let list: Value = serde_json::from_slice(&world.get(MAPS, &json).await.body).unwrap();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][1]["metadata"]["labels"], json!({"l": "b"}));
    assert_eq!(list["items"][1].as_object().unwrap().len(), 3);
    // A Table has no message: the next clause is served.
    let table = TABLE.replace("json", "vnd.kubernetes.protobuf");
    assert_eq!(world.get(MAPS, &table).await.code, 406);
    assert_eq!(world.get(MAPS, &format!("{table},{PROTOBUF}")).await.media, PROTOBUF);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_is_frames_of_events() {
    let world = World::start().await;
    world.maps(&["a"]).await;
    world.ask("DELETE", &format!("{MAPS}/a"), "application/json", &Value::Null).await;
    for (accept, kind) in [(PROTOBUF, "ConfigMap"), (METADATA, "PartialObjectMetadata")] {
        let path = format!("{MAPS}?watch=1&resourceVersion=1&timeoutSeconds=1");
        let answer = world.get(&path, accept).await;
        assert_eq!(answer.media, format!("{PROTOBUF};stream=watch"));
        let mut rest = answer.body;
        let mut seen = Vec::new();
        while rest.has_remaining() {
            let length = rest.get_u32() as usize;
            let event = meta::WatchEvent::decode(rest.split_to(length)).unwrap();
            let (_, found, raw) = open(&event.object.unwrap().raw.unwrap());
            assert_eq!(found, kind);
            let map = core::ConfigMap::decode(raw.as_slice()).unwrap();
            let metadata = map.metadata.unwrap();
            seen.push((event.r#type.unwrap(), metadata.name.unwrap(), metadata.resource_version.unwrap()));
        }
        let words: Vec<_> = seen.iter().map(|(word, name, _)| (word.as_str(), name.as_str())).collect();
        assert_eq!(words, [("ADDED", "a"), ("DELETED", "a")]);
        assert!(seen[0].2 < seen[1].2, "a deletion has a revision of its own");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery_is_a_message_too() {
    let world = World::start().await;
    let groups: meta::APIGroupList = message(&world.get("/apis", PROTOBUF).await, "v1", "APIGroupList");
    assert!(groups.groups.iter().any(|g| g.name() == "apps"));
    let resources: meta::APIResourceList =
        message(&world.get("/api/v1", PROTOBUF).await, "v1", "APIResourceList");
    assert!(resources.resources.iter().any(|r| r.name() == "pods"));
    assert_eq!(world.get("/version", PROTOBUF).await.media, "application/json");
}

/// `pretty` decodes every object and prints it anew; what is pieced together from kept forms must say the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_kept_rows_is_the_table_of_decoded_objects() {
    let world = World::start().await;
    // A text may hold what the kept rows use to mark ages.
    world.maps(&["a", "b"]).await;
    let odd = json!({"metadata": {"name": "c", "annotations": {"a": "\u{FDD0}1\u{FDD0}"}}});
    world.post(MAPS, &odd).await;
    let paths =
        [MAPS, "/api/v1/namespaces", "/apis/rbac.authorization.k8s.io/v1/clusterroles", "/api/v1/services"];
    for path in paths {
        for include in ["None", "Metadata", "Object"] {
            let path = format!("{path}?includeObject={include}");
            // Twice: once the rows are made, once they are kept.
            for _ in 0..2 {
                let [kept, decoded] = [format!("{path}&pretty=0"), format!("{path}&pretty=1")];
                let [mut kept, mut decoded] = [
                    serde_json::from_slice::<Value>(&world.get(&kept, TABLE).await.body).unwrap(),
                    serde_json::from_slice::<Value>(&world.get(&decoded, TABLE).await.body).unwrap(),
                ];
                for table in [&mut kept, &mut decoded] {
                    assert_eq!(table["kind"], "Table", "{path}");
                    for cell in table["rows"].as_array_mut().unwrap().iter_mut().flat_map(cells_of) {
                        // A second may have passed between the two.
                        if cell
                            .as_str()
                            .is_some_and(|c| c.ends_with('s') && c[..c.len() - 1].parse::<u8>().is_ok())
                        {
                            *cell = json!("young");
                        }
                    }
                }
                assert_eq!(kept, decoded, "{path}");
            }
        }
    }
}

fn cells_of(row: &mut Value) -> &mut Vec<Value> {
    row["cells"].as_array_mut().unwrap()
}
