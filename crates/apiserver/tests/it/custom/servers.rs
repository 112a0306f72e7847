//! More than one server: forks, restarts, and two over one etcd.

use coracle_store::EtcdOptions;
use coracle_testkit_etcd::Etcd;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_has_the_kinds_of_its_parent_and_its_own() {
    let (world, root) = world().await;
    root.define(definition()).await;
    root.post(TABS, tab("a", json!({}))).await.ok();
    let fork = world.fork().await;
    let inside = Root::of(&fork.server);
    inside.get(&format!("{TABS}/a")).await.ok();
    let mut other = definition();
    other["metadata"]["name"] = json!("others.stable.example.com");
    other["spec"]["names"] = json!({"plural": "others", "kind": "Other"});
    inside.define(other).await;
    inside.get("/apis/stable.example.com/v1/others").await.ok();
    assert_eq!(root.get("/apis/stable.example.com/v1/others").await.code, 404);
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    inside.delete(&path).await.ok();
    inside.until(&path, 404).await;
    root.get(&format!("{TABS}/a")).await.ok();
}

async fn server(store: Store) -> Server {
    let clock = Clock::system();
    let pki = Arc::new(Pki::memory(&ServingNames::default(), &clock).unwrap());
    Server::start(Config::new(store, pki, clock)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_finds_kinds_and_objects() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Store::open(dir.path().join("data"), meta_of(&Catalog::builtin()));
    let first = server(open().await.unwrap()).await;
    let root = Root::of(&first);
    root.define(definition()).await;
    let mut labelled = tab("a", json!({"image": "x"}));
    labelled["metadata"]["labels"] = json!({"l": "1"});
    let made = root.post(TABS, labelled).await.ok();
    first.stop().await;
    first.store().close().await;
    drop((first, root));
    let second = server(open().await.unwrap()).await;
    let root = Root::of(&second);
    assert_eq!(root.get(&format!("{TABS}/a")).await.ok(), made);
    for selector in ["labelSelector=l%3D1", "fieldSelector=spec.image%3Dx"] {
        let found = root.get(&format!("{TABS}?{selector}")).await.ok();
        assert_eq!(found["items"].as_array().map(Vec::len), Some(1), "{selector}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_server_defines_the_other_serves() {
    let etcd = Etcd::start();
    let connect = async || {
        let options = EtcdOptions { endpoints: etcd.endpoints(), ..EtcdOptions::default() };
        let store = Store::etcd(&options, meta_of(&Catalog::builtin()), Clock::system()).await.unwrap();
        server(store).await
    };
    let (one, two) = (connect().await, connect().await);
    let (here, there) = (Root::of(&one), Root::of(&two));
    here.define(definition()).await;
    there.post(TABS, tab("a", json!({"image": "x"}))).await.ok();
    let found = here.get(&format!("{TABS}?fieldSelector=spec.image%3Dx")).await.ok();
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1));
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    there.delete(&path).await.ok();
    here.until(&path, 404).await;
    assert_eq!(here.get(TABS).await.code, 404);
    one.stop().await;
    two.stop().await;
}
