//! What kubectl reads of the server's documents: `explain` in both its forms, `api-resources`, `api-versions`.

use coracle_testkit::{Answer, Cluster};

fn explain(cluster: &Cluster, args: &[&str]) -> String {
    cluster.kubectl(&[&["explain"], args].concat()).ok()
}

#[test]
fn explain_tells_of_types_fields_and_what_they_are_for() {
    let cluster = Cluster::api_only();
    let pod = explain(&cluster, &["pods"]);
    assert!(pod.starts_with("KIND:       Pod\nVERSION:    v1\n\nDESCRIPTION:\n    "), "{pod}");
    for line in ["  spec\t<PodSpec>\n", "  metadata\t<ObjectMeta>\n", "  kind\t<string>\n"] {
        assert!(pod.contains(line), "{line}\n{pod}");
    }
    let image = explain(&cluster, &["pod.spec.containers.image"]);
    assert!(image.contains("FIELD: image <string>\n"), "{image}");
    assert!(image.contains("\nDESCRIPTION:\n    Container image name. More info:"), "{image}");
    let containers = explain(&cluster, &["pod.spec.containers"]);
    assert!(containers.contains("FIELD: containers <[]Container>\n"), "{containers}");
    assert!(containers.contains("  name\t<string> -required-\n"), "{containers}");
    assert!(containers.contains("  ports\t<[]ContainerPort>\n"), "{containers}");
    // Of two groups with the same kind, each tells of its own.
    let event = explain(&cluster, &["events", "--api-version=events.k8s.io/v1"]);
    assert!(event.starts_with("GROUP:      events.k8s.io\nKIND:       Event\nVERSION:    v1\n"), "{event}");
    let unknown = cluster.kubectl(&["explain", "pod.spec.nothing"]);
    assert!(unknown.stderr.contains(r#"field "nothing" does not exist"#), "{unknown:#?}");
    // The second document, as protobuf.
    let older = explain(&cluster, &["deployment.spec.replicas", "--output=plaintext-openapiv2"]);
    assert!(older.contains("KIND:     Deployment\nVERSION:  apps/v1\n"), "{older}");
    assert!(older.contains("FIELD:    replicas <integer>\n"), "{older}");
    assert!(older.contains("Number of desired pods."), "{older}");
}

#[test]
fn every_resource_is_explained_to_its_depth() {
    let cluster = Cluster::api_only();
    let names = cluster.kubectl(&["api-resources", "-o", "name"]).ok();
    let names: Vec<&str> = names.lines().collect();
    assert!(names.len() > 60, "{names:?}");
    // The first fills kubectl's cache, so that the others need not ask.
    explain(&cluster, &["pods", "--recursive"]);
    let explained = |name: &str| {
        let (plural, group) = name.split_once('.').unwrap_or((name, ""));
        let mut args = vec!["explain".to_owned(), "--recursive".to_owned(), name.to_owned()];
        // Its name has a dot, and so would be read as a field.
        if !group.is_empty() {
            let versions = cluster.kubectl(&["get", "--raw", &format!("/apis/{group}")]).json();
            let version =
                versions["preferredVersion"]["groupVersion"].as_str().expect("a version").to_owned();
            args = vec![
                "explain".into(),
                "--recursive".into(),
                plural.into(),
                format!("--api-version={version}"),
            ];
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let answer: Answer = cluster.kubectl(&args);
        let whole = answer.success() && answer.stdout.contains("\n  apiVersion\t<string>\n");
        if whole { None } else { Some(format!("{name}: {answer:#?}")) }
    };
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let parts = names.chunks(names.len().div_ceil(4)).map(|part| {
            scope.spawn(move || part.iter().filter_map(|name| explained(name)).collect::<Vec<_>>())
        });
        let parts: Vec<_> = parts.collect();
        parts.into_iter().flat_map(|part| part.join().expect("it does not panic")).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let deployment = explain(&cluster, &["deployments", "--recursive"]);
    let path = "  spec\t<DeploymentSpec>\n";
    let deep = "        readinessProbe\t<Probe>\n";
    assert!(deployment.contains(path) && deployment.contains(deep.trim_start()), "{deployment}");
}
