//! `diff`, `edit`, `patch`, `replace`, `auth reconcile`: what reads an object, changes it and writes it back.

use std::process::Command;

use coracle_testkit::{Answer, Cluster};
use serde_json::{Value, json};

use super::{get, managers};

fn config_map(data: Value) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}).to_string()
}

/// `kubectl edit` with a shell script for an editor; `$1` is the file.
fn edit(cluster: &Cluster, args: &[&str], script: &str) -> Answer {
    let editor = cluster.dir().join("editor");
    std::fs::write(&editor, format!("#!/bin/sh\n{script}\n")).expect("the directory can be written");
    let mut command: Command = cluster.kubectl_command(&[&["edit"], args].concat());
    command.env("KUBE_EDITOR", format!("sh {}", editor.display()));
    Answer::of(command)
}

#[test]
fn diff_tells_by_its_exit_code_and_changes_nothing() {
    let cluster = Cluster::api_only();
    let new = cluster.kubectl_input(&["diff"], &config_map(json!({"a": "1"})));
    assert!(new.code == 1 && new.stdout.contains("+kind: ConfigMap\n"), "{new:#?}");
    assert!(!cluster.kubectl(&["get", "configmap", "c"]).success());
    cluster.apply(&config_map(json!({"a": "1"})));
    for form in [&["diff"][..], &["diff", "--server-side", "--force-conflicts"]] {
        let same = cluster.kubectl_input(form, &config_map(json!({"a": "1"})));
        assert_eq!((same.code, &*same.stdout), (0, ""), "{form:?}: {same:#?}");
        let changed = cluster.kubectl_input(form, &config_map(json!({"a": "2"})));
        assert_eq!(changed.code, 1, "{form:?}: {changed:#?}");
        for line in ["-  a: \"1\"\n", "+  a: \"2\"\n"] {
            assert!(changed.stdout.contains(line), "{form:?}: {changed:#?}");
        }
        assert!(!changed.stdout.contains("resourceVersion"), "{form:?}: {changed:#?}");
    }
    assert_eq!(get(&cluster, &["configmap", "c"])["data"], json!({"a": "1"}));
    let broken = config_map(json!({"not a key": "1"}));
    let refused = cluster.kubectl_input(&["diff"], &broken);
    assert!(refused.code > 1, "{refused:#?}");
}

#[test]
fn edit_writes_what_the_editor_leaves() {
    let cluster = Cluster::api_only();
    cluster.apply(&config_map(json!({"a": "1"})));
    let said = edit(&cluster, &["configmap/c"], r#"sed -i 's/a: "1"/a: "2"/' "$1""#).ok();
    assert_eq!(said, "configmap/c edited\n");
    assert_eq!(get(&cluster, &["configmap", "c"])["data"], json!({"a": "2"}));
    assert!(managers(&cluster, &["configmap", "c"]).contains(&"kubectl-edit Update".to_owned()));
    let none = edit(&cluster, &["configmap/c"], "true");
    assert!(none.stderr.contains("Edit cancelled, no changes made."), "{none:#?}");
    // What the server refuses is shown to the editor again, with the reason.
    let script = r#"if grep -q "was not valid" "$1"; then sed -i 's/bad key/good/' "$1"; else sed -i 's/a: /bad key: /' "$1"; fi"#;
    let second = edit(&cluster, &["configmap/c"], script);
    assert!(second.success(), "{second:#?}");
    assert_eq!(get(&cluster, &["configmap", "c"])["data"], json!({"good": "2"}));
    cluster.kubectl(&["run", "p", "--image=i"]).ok();
    edit(&cluster, &["pod/p", "--subresource=status"], r#"sed -i 's/phase: Pending/phase: Running/' "$1""#)
        .ok();
    assert_eq!(get(&cluster, &["pod", "p"])["status"]["phase"], "Running");
    // Another's change in between is not overwritten.
    let kubectl = coracle_testkit::kubectl();
    let meanwhile = format!(
        r#"{} --kubeconfig {} label configmap c other=1 >/dev/null; sed -i 's/good: /mine: /' "$1""#,
        kubectl.display(),
        cluster.kubeconfig().display()
    );
    edit(&cluster, &["configmap/c"], &meanwhile).ok();
    let found = get(&cluster, &["configmap", "c"]);
    assert_eq!(
        (&found["data"], &found["metadata"]["labels"]),
        (&json!({"mine": "2"}), &json!({"other": "1"}))
    );
}

#[test]
fn every_type_of_patch_does_what_it_is_for() {
    let cluster = Cluster::api_only();
    cluster.kubectl(&["create", "deployment", "web", "--image=one"]).ok();
    let patch = |kind: &str, patch: Value| {
        let kind = format!("--type={kind}");
        cluster.kubectl(&["patch", "deployment", "web", &kind, "-p", &patch.to_string()])
    };
    let containers =
        || get(&cluster, &["deployment", "web"])["spec"]["template"]["spec"]["containers"].clone();
    let names = |containers: &Value| -> Vec<String> {
        let list = containers.as_array().expect("a list").iter();
        list.map(|c| format!("{}={}", c["name"].as_str().unwrap_or(""), c["image"].as_str().unwrap_or("")))
            .collect()
    };
    let add = json!({"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "s"}]}}}});
    assert_eq!(patch("strategic", add.clone()).ok(), "deployment.apps/web patched\n");
    assert_eq!(names(&containers()), ["side=s", "one=one"]);
    assert_eq!(patch("strategic", add.clone()).ok(), "deployment.apps/web patched (no change)\n");
    let remove =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "one", "$patch": "delete"}]}}}});
    patch("strategic", remove).ok();
    assert_eq!(names(&containers()), ["side=s"]);
    // A list of a merge patch replaces.
    let list = json!({"spec": {"template": {"spec": {"containers": [{"name": "only", "image": "o"}]}}}});
    patch("merge", list).ok();
    assert_eq!(names(&containers()), ["only=o"]);
    let operations = json!([{"op": "test", "path": "/spec/replicas", "value": 1},
        {"op": "replace", "path": "/spec/replicas", "value": 2},
        {"op": "add", "path": "/metadata/labels/a~1b", "value": "c"}]);
    patch("json", operations.clone()).ok();
    let found = get(&cluster, &["deployment", "web"]);
    assert_eq!((&found["spec"]["replicas"], &found["metadata"]["labels"]["a/b"]), (&json!(2), &json!("c")));
    let failed = patch("json", operations);
    assert!(!failed.success() && failed.stderr.contains("The request is invalid"), "{failed:#?}");
    let status = json!({"status": {"observedGeneration": 77}});
    cluster
        .kubectl(&[
            "patch",
            "deployment",
            "web",
            "--subresource=status",
            "--type=merge",
            "-p",
            &status.to_string(),
        ])
        .ok();
    let paths = [("label", "tier=front"), ("annotate", "note=n")];
    for (verb, what) in paths {
        cluster.kubectl(&[verb, "deployment", "web", what]).ok();
        let other = what.replace('=', "=x");
        let taken = cluster.kubectl(&[verb, "deployment", "web", &other]);
        assert!(!taken.success() && taken.stderr.contains("already has a value"), "{taken:#?}");
        cluster.kubectl(&[verb, "deployment", "web", &other, "--overwrite"]).ok();
    }
    let found = get(&cluster, &["deployment", "web"])["metadata"].clone();
    assert_eq!((&found["labels"]["tier"], &found["annotations"]["note"]), (&json!("xfront"), &json!("xn")));
}

#[test]
fn auth_reconcile_adds_what_is_missing_and_binds_anew() {
    let cluster = Cluster::api_only();
    let role = |verbs: &[&str]| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "r", "namespace": "default"},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}]})
    };
    let binding = |role: &str, users: &[&str]| {
        let subject = |u: &&str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": u});
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "b", "namespace": "default"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
            "subjects": users.iter().map(subject).collect::<Vec<_>>()})
    };
    let reconcile = |more: &[&str], objects: &[Value]| {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        let said = cluster.kubectl_input(&[&["auth", "reconcile"], more].concat(), &list);
        assert!(said.success(), "{said:#?}");
        said.stdout + &said.stderr
    };
    let may = |verb: &str| cluster.kubectl(&["auth", "can-i", verb, "pods", "--as=jane"]).stdout == "yes\n";
    let told = reconcile(&[], &[role(&["get"]), binding("r", &["jane"])]);
    assert!(told.contains("role.rbac.authorization.k8s.io/r reconciled\n"), "{told}");
    assert!(told.contains("reconciliation required create\n"), "{told}");
    assert!(may("get") && !may("list"));
    // Beside what is there; twice is no more than once; and without the rest only when told so.
    reconcile(&[], &[role(&["list"])]);
    assert!(may("get") && may("list"));
    let again = reconcile(&[], &[role(&["list"])]);
    assert!(!again.contains("reconciliation required"), "{again}");
    reconcile(&["--remove-extra-permissions"], &[role(&["list"])]);
    assert!(!may("get") && may("list"));
    reconcile(&["--remove-extra-subjects"], &[binding("r", &["joe"])]);
    assert!(!may("list"));
    // A binding to another role is made anew, for its role cannot change.
    let before = get(&cluster, &["rolebinding", "b"])["metadata"]["uid"].clone();
    reconcile(&[], &[binding("other", &["joe"])]);
    let after = get(&cluster, &["rolebinding", "b"]);
    assert_eq!(after["roleRef"]["name"], "other");
    assert_ne!(after["metadata"]["uid"], before);
}
