//! What the server serves, and which of it a user's word means: `po`, `deploy/web`, `roles.rbac.authorization.k8s.io`.

use kube::Client;
use serde_json::Value;

use crate::Error;
use crate::rest::Call;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resource {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub plural: String,
    pub singular: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub verbs: Vec<String>,
    pub namespaced: bool,
}

impl Resource {
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `pod`, `deployment.apps`: how kubectl names an object it has acted on.
    pub(crate) fn shown(&self) -> String {
        let kind = self.kind.to_lowercase();
        if self.group.is_empty() { kind } else { format!("{kind}.{}", self.group) }
    }

    /// The collection's path; all namespaces where none is given.
    pub(crate) fn path(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        match namespace {
            Some(namespace) if self.namespaced => format!("{root}/namespaces/{namespace}/{}", self.plural),
            _ => format!("{root}/{}", self.plural),
        }
    }

    pub(crate) fn object_path(&self, namespace: &str, name: &str) -> String {
        format!("{}/{}", self.path(Some(namespace)), crate::rest::encode(name))
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Discovery {
    pub resources: Vec<Resource>,
}

impl Discovery {
    pub(crate) async fn fetch(client: &Client) -> Result<Discovery, Error> {
        let mut resources = Vec::new();
        for path in ["/api", "/apis"] {
            let document = Call::get(path).accept(AGGREGATED).value(client).await?;
            for group in document["items"].as_array().into_iter().flatten() {
                read_group(group, &mut resources);
            }
        }
        Ok(Discovery { resources })
    }

    /// `pods`, `pod`, `po`, `Pod`, `deployments.apps`, `deployments.v1.apps`.
    pub(crate) fn find(&self, word: &str) -> Result<&Resource, Error> {
        let word = word.to_lowercase();
        let (name, qualifier) = word.split_once('.').map_or((word.as_str(), None), |(n, q)| (n, Some(q)));
        let named = |r: &&Resource| {
            r.plural == name
                || r.singular == name
                || r.kind.to_lowercase() == name
                || r.short_names.iter().any(|s| s == name)
        };
        let qualified = |r: &&Resource| match qualifier {
            None => true,
            Some(q) => {
                q == r.group
                    || q == format!("{}.{}", r.version, r.group)
                    || (r.group.is_empty() && q == r.version)
            }
        };
        let mut found = self.resources.iter().filter(named).filter(qualified);
        found
            .next()
            .ok_or_else(|| Error::local(format!("the server doesn't have a resource type \"{word}\"")))
    }

    pub(crate) fn by_kind(&self, api_version: &str, kind: &str) -> Result<&Resource, Error> {
        let found = self.resources.iter().find(|r| r.kind == kind && r.api_version() == api_version);
        found.ok_or_else(|| {
            Error::local(format!(
                "resource mapping not found: no matches for kind \"{kind}\" in version \"{api_version}\"\n\
                 ensure CRDs are installed first"
            ))
        })
    }

    /// The resources of a category such as `all`.
    pub(crate) fn category(&self, name: &str) -> Vec<&Resource> {
        self.resources.iter().filter(|r| r.categories.iter().any(|c| c == name)).collect()
    }
}

fn read_group(group: &Value, resources: &mut Vec<Resource>) {
    let name = group["metadata"]["name"].as_str().unwrap_or("");
    let mut seen: Vec<String> = Vec::new();
    for version in group["versions"].as_array().into_iter().flatten() {
        for resource in version["resources"].as_array().into_iter().flatten() {
            let plural = resource["resource"].as_str().unwrap_or("").to_owned();
            let strings = |key: &str| {
                let list = resource[key].as_array().into_iter().flatten();
                list.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
            };
            let first = !seen.contains(&plural);
            seen.push(plural.clone());
            resources.push(Resource {
                group: name.to_owned(),
                version: version["version"].as_str().unwrap_or("").to_owned(),
                kind: resource["responseKind"]["kind"].as_str().unwrap_or("").to_owned(),
                plural,
                singular: resource["singularResource"].as_str().unwrap_or("").to_owned(),
                // Short words mean the preferred version, which is listed first.
                short_names: if first { strings("shortNames") } else { Vec::new() },
                categories: if first { strings("categories") } else { Vec::new() },
                verbs: strings("verbs"),
                namespaced: resource["scope"] == "Namespaced",
            });
        }
    }
}

/// One thing that a command line names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub resource: Resource,
    /// None means all of them.
    pub name: Option<String>,
}

/// `pods`, `pod nginx web`, `pod/nginx svc/web`, `pods,services`, `all`.
pub(crate) fn targets(discovery: &Discovery, words: &[String]) -> Result<Vec<Target>, Error> {
    let Some(first) = words.first() else {
        return Err(Error::local(
            "You must specify the type of resource to get. Use \"kubectl api-resources\" for a complete list of supported resources.",
        ));
    };
    if words.iter().any(|w| w.contains('/')) {
        let each = words.iter().map(|word| match word.split_once('/') {
            Some((kind, name)) if !kind.is_empty() && !name.is_empty() => {
                Ok(Target { resource: discovery.find(kind)?.clone(), name: Some(name.to_owned()) })
            }
            _ => Err(Error::local(
                "there is no need to specify a resource type as a separate argument when passing arguments in \
                 resource/name form (e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl get resource \
                 resource/<resource_name>'",
            )),
        });
        return each.collect();
    }
    let mut resources: Vec<Resource> = Vec::new();
    for word in first.split(',') {
        let category = discovery.category(word);
        if category.is_empty() {
            resources.push(discovery.find(word)?.clone());
        } else {
            resources.extend(category.into_iter().cloned());
        }
    }
    let names = &words[1..];
    let targets = resources.into_iter().flat_map(|resource| {
        if names.is_empty() {
            vec![Target { resource, name: None }]
        } else {
            names.iter().map(|n| Target { resource: resource.clone(), name: Some(n.clone()) }).collect()
        }
    });
    Ok(targets.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn discovery() -> Discovery {
        let mut resources = Vec::new();
        read_group(
            &json!({"metadata": {}, "versions": [{"version": "v1", "resources": [
                {"resource": "pods", "responseKind": {"kind": "Pod"}, "singularResource": "pod", "shortNames": ["po"],
                 "categories": ["all"], "scope": "Namespaced", "verbs": ["get"]}]}]}),
            &mut resources,
        );
        read_group(
            &json!({"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [
                {"resource": "deployments", "responseKind": {"kind": "Deployment"}, "singularResource": "deployment",
                 "shortNames": ["deploy"], "categories": ["all"], "scope": "Namespaced", "verbs": ["get"]}]}]}),
            &mut resources,
        );
        Discovery { resources }
    }

    #[track_caller]
    fn check(words: &[&str], expected: &[(&str, Option<&str>)]) {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        let found = targets(&discovery(), &words).unwrap();
        let found: Vec<_> = found.iter().map(|t| (t.resource.plural.as_str(), t.name.as_deref())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn words_mean_what_they_mean_to_kubectl() {
        check(&["po"], &[("pods", None)]);
        check(&["Pod", "a", "b"], &[("pods", Some("a")), ("pods", Some("b"))]);
        check(&["pod/a", "deploy/b"], &[("pods", Some("a")), ("deployments", Some("b"))]);
        check(&["pods,deployments.apps"], &[("pods", None), ("deployments", None)]);
        check(&["all"], &[("pods", None), ("deployments", None)]);
        assert!(targets(&discovery(), &["frobs".to_owned()]).is_err());
    }
}
