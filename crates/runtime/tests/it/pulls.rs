//! Pulling from a registry: names and digests, content that was changed, accounts, and what the image asks for.

use std::fs;

use coracle_runtime::{ContainerConfig, Credentials, PullError, Runtime, SecurityContext};
use serde_json::json;

use super::registry::{self, Registry};
use super::{Bed, may_run};

fn may_pull(test: &str) -> bool {
    if !may_run(test) {
        return false;
    }
    let found = Registry::program().is_some();
    if !found {
        eprintln!("{test}: skipped, needs docker-registry");
    }
    found
}

#[tokio::test]
async fn pulls_by_tag_by_digest_and_from_an_index() {
    if !may_pull("pulls_by_tag_by_digest_and_from_an_index") {
        return;
    }
    let registry = Registry::start(false);
    let digest = registry.push("team/web", "v1", &json!({"Env": ["PATH=/bin"]}));
    let index = registry.push_index("team/web", "all", &digest);
    let bed = Bed::new().await;
    let name = registry.name("team/web");
    for (image, tags, found) in [
        (format!("{name}:v1"), vec![format!("{name}:v1")], &digest),
        (format!("{name}@{digest}"), vec![], &digest),
        (format!("{name}:ignored@{digest}"), vec![], &digest),
        (format!("{name}:all"), vec![format!("{name}:all")], &index),
        (format!("{name}@{index}"), vec![], &index),
    ] {
        let id = bed.runtime.pull_image(&image, None).await.unwrap();
        let status = bed.runtime.image_status(&image).await.unwrap().expect("it is there");
        assert_eq!((&status.id, &status.tags), (&id, &tags), "{image}");
        assert_eq!(status.digests, [format!("{name}@{found}")], "{image}");
        let again = bed.runtime.pull_image(&image, None).await.unwrap();
        assert_eq!(again, id, "{image}");
        bed.runtime.remove_image(&image).await.unwrap();
    }
    bed.close().await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    if !may_pull("what_is_not_there_is_not_found") {
        return;
    }
    let registry = Registry::start(false);
    registry.push("web", "v1", &json!({}));
    let bed = Bed::new().await;
    let missing = format!("sha256:{}", "0".repeat(64));
    for image in ["web:v2".into(), "other:v1".into(), format!("web@{missing}")] {
        let image = registry.name(&image);
        let error = bed.runtime.pull_image(&image, None).await.unwrap_err();
        assert!(matches!(error, PullError::NotFound { .. }), "{image}: {error:?}");
        assert_eq!(error.to_string(), format!("failed to pull image {image:?}: not found"));
    }
    let invalid = bed.runtime.pull_image("Not/A Name", None).await.unwrap_err();
    assert!(matches!(invalid, PullError::InvalidName { .. }), "{invalid:?}");
    let address = registry.name("web:v1");
    drop(registry);
    let gone = bed.runtime.pull_image(&address, None).await.unwrap_err();
    assert!(matches!(gone, PullError::Unreachable { .. }), "{gone:?}");
    assert!(gone.to_string().contains("onnection refused"), "{gone}");
    bed.close().await;
}

#[tokio::test]
async fn changed_content_is_refused() {
    if !may_pull("changed_content_is_refused") {
        return;
    }
    let registry = Registry::start(false);
    let digest = registry.push("web", "v1", &json!({}));
    let bed = Bed::new().await;
    // It has the same layer, which would not be fetched again.
    bed.runtime.remove_image("busybox:test").await.unwrap();
    let before = bed.runtime.list_images().await.unwrap();
    for (number, (blob, path)) in registry.blobs_of(&digest).into_iter().enumerate() {
        let original = fs::read(&path).unwrap();
        let mut changed = original.clone();
        // The manifest stays one: a space in the place of another is enough for another digest.
        if number == 0 {
            changed.push(b' ');
        } else {
            let middle = changed.len() / 2;
            changed[middle] ^= 1;
        }
        fs::write(&path, changed).unwrap();
        let image = registry.name(&format!("web@{digest}"));
        let error = bed.runtime.pull_image(&image, None).await.unwrap_err();
        assert!(matches!(error, PullError::Refused { .. }), "{blob}: {error:?}");
        assert_eq!(bed.runtime.list_images().await.unwrap(), before, "{blob}");
        assert_eq!(fs::read_dir(bed.dir.path().join("root/tmp")).unwrap().count(), 0, "{blob}");
        fs::write(&path, original).unwrap();
    }
    bed.runtime.pull_image(&registry.name("web:v1"), None).await.unwrap();
    bed.close().await;
}

#[tokio::test]
async fn a_protected_registry_wants_its_account() {
    if !may_pull("a_protected_registry_wants_its_account") {
        return;
    }
    let registry = Registry::start(true);
    registry.push("secret", "v1", &json!({}));
    let bed = Bed::new().await;
    let image = registry.name("secret:v1");
    let with = |password: &str| Credentials { username: registry::USER.into(), password: password.into() };
    for credentials in [None, Some(with("wrong"))] {
        let error = bed.runtime.pull_image(&image, credentials.as_ref()).await.unwrap_err();
        assert!(matches!(error, PullError::Unauthorized { .. }), "{error:?}");
        assert!(!error.to_string().contains("wrong"), "{error}");
    }
    bed.runtime.pull_image(&image, Some(&with(registry::PASSWORD))).await.unwrap();
    bed.close().await;
}

#[tokio::test]
async fn what_the_image_asks_for_is_honoured() {
    if !may_pull("what_the_image_asks_for_is_honoured") {
        return;
    }
    let registry = Registry::start(false);
    let asks = json!({"Entrypoint": ["/bin/sh", "-c", "echo $(pwd) $(id -u):$(id -g) $GREETING $0 $1"],
        "Cmd": ["zero", "one"], "Env": ["PATH=/bin", "GREETING=hello"], "WorkingDir": "/made/here", "User": "web"});
    registry.push("asks", "v1", &asks);
    let bed = Bed::new().await;
    let image = registry.name("asks:v1");
    bed.runtime.pull_image(&image, None).await.unwrap();
    let base = ContainerConfig { image, log_path: "0.log".into(), ..ContainerConfig::default() };
    let replaced = ContainerConfig {
        args: vec!["nil".into()],
        env: vec![("GREETING".into(), "bye".into())],
        working_dir: "/tmp".into(),
        security: SecurityContext { run_as_user: Some(7), run_as_group: Some(8), ..Default::default() },
        ..base.clone()
    };
    for (config, expected) in
        [(base, "stdout F /made/here 33:34 hello zero one"), (replaced, "stdout F /tmp 7:8 bye nil")]
    {
        let sandbox = bed.sandbox().await;
        let container = bed.runtime.create_container(&sandbox, config).await.unwrap();
        bed.runtime.start_container(&container).await.unwrap();
        assert_eq!(bed.exit_code(&container).await, 0);
        assert_eq!(bed.log(&container).await, [expected]);
        bed.runtime.remove_sandbox(&sandbox).await.unwrap();
        fs::remove_dir_all(bed.dir.path().join("logs")).unwrap();
    }
    bed.close().await;
}

#[tokio::test]
async fn an_import_by_another_process_is_seen_at_once() {
    if !may_run("an_import_by_another_process_is_seen_at_once") {
        return;
    }
    let bed = Bed::new().await;
    let sandbox = bed.sandbox().await;
    let container = bed.started(&sandbox, "sleep 1000").await;
    // As `coracle image` does: the same images, and no sandboxes.
    let mut config = super::config(bed.dir.path(), &bed.cgroup);
    config.state_dir = bed.dir.path().join("no-sandboxes");
    let other = coracle_runtime::embedded::Embedded::new(config).await.unwrap();
    other.remove_image("busybox:test").await.unwrap();
    assert_eq!(bed.runtime.image_status("busybox:test").await.unwrap(), None);
    assert_eq!(bed.exec(&container, "cat /bin/busybox >/dev/null && echo still here").await, "still here");
    other.import_image(&super::image::archive(bed.dir.path())).await.unwrap();
    let config = ContainerConfig { log_path: "second/0.log".into(), ..ContainerConfig::default() };
    let second = bed.started_with(&sandbox, "echo $FROM", config).await;
    assert_eq!(bed.exit_code(&second).await, 0);
    assert_eq!(bed.log(&second).await, ["stdout F image"]);
    bed.close().await;
}
