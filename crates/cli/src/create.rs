//! Objects that `create` makes from words instead of a manifest. One function a kind.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::ArgMatches;
use serde_json::{Map, Value, json};

use crate::Error;
use crate::args::{many, text};

type Made = Result<Value, Error>;

pub(crate) fn name(m: &ArgMatches) -> Result<String, Error> {
    text(m, "name").ok_or_else(|| Error::local("exactly one NAME is required, got 0"))
}

pub(crate) fn namespace(m: &ArgMatches) -> Made {
    Ok(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name(m)?}}))
}

pub(crate) fn service_account(m: &ArgMatches) -> Made {
    Ok(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name(m)?}}))
}

const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// `--verb=get,list --resource=pods,deployments.apps/scale --resource-name=x`.
pub(crate) fn role(m: &ArgMatches, kind: &str) -> Made {
    let split =
        |name: &str| many(m, name).iter().flat_map(|v| v.split(',')).map(str::to_owned).collect::<Vec<_>>();
    let (verbs, resources, names, urls) =
        (split("verb"), split("resource"), split("resource-name"), split("non-resource-url"));
    if verbs.is_empty() {
        return Err(Error::local("at least one verb must be specified"));
    }
    if resources.is_empty() && urls.is_empty() {
        return Err(Error::local("at least one resource must be specified"));
    }
    let mut rules: Vec<Value> = Vec::new();
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for word in resources {
        let (group, resource) = split_resource(&word);
        match groups.iter_mut().find(|(g, _)| *g == group) {
            Some((_, listed)) => listed.push(resource),
            None => groups.push((group, vec![resource])),
        }
    }
    for (group, resources) in groups {
        let mut rule = json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
        if !names.is_empty() {
            rule["resourceNames"] = json!(names);
        }
        rules.push(rule);
    }
    if !urls.is_empty() {
        rules.push(json!({"nonResourceURLs": urls, "verbs": verbs}));
    }
    Ok(json!({"apiVersion": RBAC, "kind": kind, "metadata": {"name": name(m)?}, "rules": rules}))
}

/// `deployments.apps/scale` is the resource `deployments/scale` of group `apps`.
fn split_resource(word: &str) -> (String, String) {
    let (resource, sub) = word.split_once('/').map_or((word, None), |(r, s)| (r, Some(s)));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let full = sub.map_or_else(|| resource.to_owned(), |sub| format!("{resource}/{sub}"));
    (group.to_owned(), full)
}

/// A RoleBinding (or ClusterRoleBinding) from `--role|--clusterrole` and its subjects.
pub(crate) fn binding(m: &ArgMatches, kind: &str) -> Made {
    let (role, cluster_role) = (text(m, "role"), text(m, "clusterrole"));
    let role_ref = match (role, cluster_role) {
        (Some(role), None) => json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role}),
        (None, Some(role)) => {
            json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role})
        }
        _ => return Err(Error::local("exactly one of clusterrole or role must be specified")),
    };
    let mut subjects = Vec::new();
    for (flag, kind) in [("user", "User"), ("group", "Group")] {
        for name in many(m, flag) {
            subjects.push(json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}));
        }
    }
    for account in many(m, "serviceaccount") {
        let (namespace, name) = account
            .split_once(':')
            .filter(|(ns, n)| !ns.is_empty() && !n.is_empty())
            .ok_or_else(|| Error::local("serviceaccount must be <namespace>:<name>"))?;
        subjects.push(json!({"kind": "ServiceAccount", "name": name, "namespace": namespace}));
    }
    Ok(
        json!({"apiVersion": RBAC, "kind": kind, "metadata": {"name": name(m)?}, "roleRef": role_ref, "subjects": subjects}),
    )
}

pub(crate) fn config_map(m: &ArgMatches) -> Made {
    let (mut data, mut binary) = (Map::new(), Map::new());
    for (key, bytes) in entries(m)? {
        match String::from_utf8(bytes) {
            Ok(text) => insert(&mut data, key, json!(text))?,
            Err(e) => insert(&mut binary, key, json!(STANDARD.encode(e.into_bytes())))?,
        }
    }
    let mut made = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name(m)?}});
    if !data.is_empty() {
        made["data"] = Value::Object(data);
    }
    if !binary.is_empty() {
        made["binaryData"] = Value::Object(binary);
    }
    Ok(made)
}

fn insert(map: &mut Map<String, Value>, key: String, value: Value) -> Result<(), Error> {
    if map.contains_key(&key) {
        return Err(Error::local(format!(
            "cannot add key \"{key}\", another key by that name already exists in Data"
        )));
    }
    map.insert(key, value);
    Ok(())
}

/// `--from-literal=k=v`, `--from-file=[key=]path` (a directory gives each of its files), `--from-env-file=path`.
fn entries(m: &ArgMatches) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut found = Vec::new();
    for literal in many(m, "from-literal") {
        let (key, value) = literal
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| Error::local(format!("invalid literal source {literal}, expected key=value")))?;
        found.push((key.to_owned(), value.as_bytes().to_vec()));
    }
    for source in many(m, "from-file") {
        from_file(&source, &mut found)?;
    }
    for path in many(m, "from-env-file") {
        for line in read(&path)?.split(|b| *b == b'\n') {
            let line = String::from_utf8_lossy(line);
            let line = line.trim();
            if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
                found.push((key.trim().to_owned(), value.as_bytes().to_vec()));
            }
        }
    }
    Ok(found)
}

fn from_file(source: &str, found: &mut Vec<(String, Vec<u8>)>) -> Result<(), Error> {
    let (key, path) = source.split_once('=').map_or((None, source), |(k, p)| (Some(k), p));
    let file_name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if key.is_none() && Path::new(path).is_dir() {
        let mut files: Vec<_> =
            std::fs::read_dir(path)?.flatten().map(|e| e.path()).filter(|p| p.is_file()).collect();
        files.sort();
        for file in files {
            found.push((file_name(&file), std::fs::read(&file)?));
        }
        return Ok(());
    }
    let key = key.map_or_else(|| file_name(Path::new(path)), str::to_owned);
    found.push((key, read(path)?));
    Ok(())
}

fn read(path: &str) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|e| Error::local(format!("error reading {path}: {e}")))
}

pub(crate) fn secret(m: &ArgMatches, kind: &str) -> Made {
    let (secret_type, data) = match kind {
        "tls" => {
            let path =
                |flag: &str| text(m, flag).ok_or_else(|| Error::local("key and cert must be specified"));
            let files = [("tls.crt", read(&path("cert")?)?), ("tls.key", read(&path("key")?)?)];
            ("kubernetes.io/tls".to_owned(), files.map(|(k, v)| (k.to_owned(), v)).to_vec())
        }
        "docker-registry" => (
            "kubernetes.io/dockerconfigjson".to_owned(),
            vec![(".dockerconfigjson".to_owned(), docker_config(m)?)],
        ),
        _ => (text(m, "type").unwrap_or_else(|| "Opaque".to_owned()), entries(m)?),
    };
    let mut map = Map::new();
    for (key, bytes) in data {
        insert(&mut map, key, json!(STANDARD.encode(bytes)))?;
    }
    let mut made =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name(m)?}, "type": secret_type});
    if !map.is_empty() {
        made["data"] = Value::Object(map);
    }
    Ok(made)
}

fn docker_config(m: &ArgMatches) -> Result<Vec<u8>, Error> {
    let need = |flag: &str| {
        text(m, flag).ok_or_else(|| Error::local(format!("required flag(s) \"{flag}\" not set")))
    };
    let (user, password) = (need("docker-username")?, need("docker-password")?);
    let server = text(m, "docker-server").unwrap_or_else(|| "https://index.docker.io/v1/".to_owned());
    let mut entry = json!({"username": user, "password": password, "auth": STANDARD.encode(format!("{user}:{password}"))});
    if let Some(email) = text(m, "docker-email") {
        entry["email"] = json!(email);
    }
    Ok(json!({"auths": {server: entry}}).to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_word_names_group_and_subresource() {
        let check = |word: &str, group: &str, resource: &str| {
            assert_eq!(split_resource(word), (group.to_owned(), resource.to_owned()));
        };
        check("pods", "", "pods");
        check("pods/log", "", "pods/log");
        check("deployments.apps/scale", "apps", "deployments/scale");
        check("roles.rbac.authorization.k8s.io", "rbac.authorization.k8s.io", "roles");
    }
}
