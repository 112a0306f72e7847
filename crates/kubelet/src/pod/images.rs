//! Gets a container's image onto the node: pull policy, pull secrets, back-off and the events about it.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use coracle_runtime::{Credentials, PullError};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, Secret};
use serde::Deserialize;

use super::observed::Waiting;
use super::spec::{self, Role};
use super::{Backoff, backoff::go_seconds};
use crate::Shared;
use crate::recorder::Kind;

/// `ErrImagePull` is shown this long before it becomes `ImagePullBackOff`, and `RunContainerError` before
/// `CrashLoopBackOff`: long enough to be seen in a watch.
pub(crate) const SHOW_ERROR: Duration = Duration::from_secs(2);
/// Where images without a registry come from, as credentials name it.
const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_REGISTRY_ALIAS: &str = "index.docker.io";
/// The images of this node itself: nothing is behind the name that could be pulled.
const LOCAL_REGISTRY: &str = "coracle.local";

/// Failed pulls of the images of one Pod.
#[derive(Debug, Default)]
pub(crate) struct Pulls(BTreeMap<String, Failed>);

#[derive(Debug)]
struct Failed {
    backoff: Backoff,
    at: Timestamp,
    message: String,
}

/// What an attempt to have the image is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) container: &'a Container,
    pub(crate) role: Role,
}

impl Wanted<'_> {
    fn image(&self) -> &str {
        self.container.image.as_deref().unwrap_or_default()
    }

    fn event(&self, shared: &Shared, kind: Kind, reason: &'static str, message: String) {
        shared.recorder.container(self.pod, self.role, &self.container.name, kind, reason, message);
    }

    fn refuse(&self, shared: &Shared, reason: &str, message: String, until: Timestamp) -> Waiting {
        self.event(shared, Kind::Warning, "Failed", format!("Error: {reason}"));
        Waiting { reason: reason.to_owned(), message, until: Some(until) }
    }
}

impl Pulls {
    /// Returns when the image is on the node, or says what the container waits for.
    pub(crate) async fn ensure(&mut self, shared: &Shared, wanted: Wanted<'_>) -> Result<(), Waiting> {
        let image = wanted.image();
        let now = shared.clock.now();
        let soon = after(now, SHOW_ERROR * 5);
        if let Some(reason) = coracle_runtime::image_name_error(image) {
            let message = format!(
                "Failed to apply default image tag \"{image}\": couldn't parse image name \"{image}\": {reason}"
            );
            wanted.event(shared, Kind::Warning, "InspectFailed", message.clone());
            return Err(wanted.refuse(shared, "InvalidImageName", message, soon));
        }
        let present = match shared.runtime.image_status(image).await {
            Ok(found) => found.is_some(),
            Err(error) => {
                let message = format!("Failed to inspect image \"{image}\": {error}");
                wanted.event(shared, Kind::Warning, "InspectFailed", message.clone());
                return Err(wanted.refuse(shared, "ImageInspectError", message, soon));
            }
        };
        let policy = policy(wanted.container);
        if present && (policy != "Always" || registry_and_path(image).0 == LOCAL_REGISTRY) {
            let message = format!(
                "Container image \"{image}\" already present on machine and can be accessed by the pod"
            );
            wanted.event(shared, Kind::Normal, "Pulled", message);
            return Ok(());
        }
        if policy == "Never" {
            let message = format!("Container image \"{image}\" is not present with pull policy of Never");
            wanted.event(shared, Kind::Warning, "ErrImageNeverPull", message.clone());
            return Err(wanted.refuse(shared, "ErrImageNeverPull", message, soon));
        }
        self.hold_back(shared, wanted, now)?;
        self.pull(shared, wanted).await
    }

    fn hold_back(&self, shared: &Shared, wanted: Wanted<'_>, now: Timestamp) -> Result<(), Waiting> {
        let image = wanted.image();
        let Some(failed) = self.0.get(image) else { return Ok(()) };
        let Some(until) = failed.backoff.until(failed.at, now) else { return Ok(()) };
        let short = format!("Back-off pulling image \"{image}\"");
        tracing::debug!(image, delay = go_seconds(failed.backoff.delay()), "pull is held back");
        wanted.event(shared, Kind::Normal, "BackOff", short.clone());
        let message = format!("{short}: ErrImagePull: {}", failed.message);
        Err(wanted.refuse(shared, "ImagePullBackOff", message, until))
    }

    async fn pull(&mut self, shared: &Shared, wanted: Wanted<'_>) -> Result<(), Waiting> {
        let image = wanted.image();
        let credentials = credentials(shared, wanted.pod, image).await;
        wanted.event(shared, Kind::Normal, "Pulling", format!("Pulling image \"{image}\""));
        let began = shared.clock.elapsed();
        let error = match self.try_each(shared, image, &credentials).await {
            Ok(_) => {
                self.0.remove(image);
                let took = go_duration(shared.clock.elapsed() - began);
                let size =
                    shared.runtime.image_status(image).await.ok().flatten().map_or(0, |image| image.size);
                let message = format!(
                    "Successfully pulled image \"{image}\" in {took} ({took} including waiting). Image size: {size} bytes."
                );
                wanted.event(shared, Kind::Normal, "Pulled", message);
                return Ok(());
            }
            Err(error) => error,
        };
        let now = shared.clock.now();
        let message = error.to_string();
        wanted.event(shared, Kind::Warning, "Failed", format!("Failed to pull image \"{image}\": {message}"));
        let failed = self.0.entry(image.to_owned()).or_insert_with(|| Failed {
            backoff: Backoff::default(),
            at: now,
            message: String::new(),
        });
        failed.backoff.next(now, now);
        failed.at = now;
        failed.message.clone_from(&message);
        Err(wanted.refuse(shared, "ErrImagePull", message, after(now, SHOW_ERROR)))
    }

    /// With each of the credentials in turn, and at last (or at once) with none.
    async fn try_each(&self, shared: &Shared, image: &str, all: &[Credentials]) -> Result<String, PullError> {
        let mut refused = None;
        for credentials in all {
            match shared.runtime.pull_image(image, Some(credentials)).await {
                Err(error @ PullError::Unauthorized { .. }) => refused = Some(error),
                other => return other,
            }
        }
        match refused {
            Some(error) => Err(error),
            None => shared.runtime.pull_image(image, None).await,
        }
    }
}

fn after(now: Timestamp, delay: Duration) -> Timestamp {
    now.checked_add(delay).unwrap_or(Timestamp::MAX)
}

/// As Go prints it, to the millisecond.
fn go_duration(took: Duration) -> String {
    let millis = took.as_millis();
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let text = format!("{:.3}", (millis % 60_000) as f64 / 1000.0);
    let seconds = text.trim_end_matches('0').trim_end_matches('.');
    if millis < 60_000 { format!("{seconds}s") } else { format!("{}m{seconds}s", millis / 60_000) }
}

fn policy(container: &Container) -> &str {
    let image = container.image.as_deref().unwrap_or_default();
    let latest = !image.contains('@') && !image.rsplit('/').next().unwrap_or_default().contains(':');
    let default = if latest || image.ends_with(":latest") { "Always" } else { "IfNotPresent" };
    container.image_pull_policy.as_deref().filter(|it| !it.is_empty()).unwrap_or(default)
}

async fn credentials(shared: &Shared, pod: &Pod, image: &str) -> Vec<Credentials> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    let names = pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten());
    for reference in names.filter(|it| !it.name.is_empty()) {
        match shared.objects.secret(spec::namespace(pod), &reference.name).await {
            Ok(secret) => found.extend(matching(&secret, image)),
            Err(_) => missing.push(reference.name.as_str()),
        }
    }
    if !missing.is_empty() {
        let message = format!(
            "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
            missing.join(", ")
        );
        shared.recorder.pod(pod, None, Kind::Warning, "FailedToRetrieveImagePullSecret", message);
    }
    // The most specific entry comes first.
    found.sort_by_key(|(key, _): &(String, Credentials)| std::cmp::Reverse(key.len()));
    found.into_iter().map(|(_, credentials)| credentials).collect()
}

#[derive(Deserialize)]
struct DockerConfigJson {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    auth: String,
}

impl Entry {
    fn credentials(self) -> Option<Credentials> {
        if self.auth.is_empty() {
            let Entry { username, password, .. } = self;
            return (!username.is_empty()).then_some(Credentials { username, password });
        }
        let decoded = base64::engine::general_purpose::STANDARD.decode(self.auth.trim()).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (username, password) = text.split_once(':')?;
        let (username, password) = (username.to_owned(), password.trim_end_matches('\0').to_owned());
        Some(Credentials { username, password })
    }
}

/// The entries of a pull secret that are for `image`.
fn matching(secret: &Secret, image: &str) -> Vec<(String, Credentials)> {
    let Some(data) = &secret.data else { return Vec::new() };
    let entries = if let Some(file) = data.get(".dockerconfigjson") {
        serde_json::from_slice::<DockerConfigJson>(&file.0).map(|file| file.auths).ok()
    } else if let Some(file) = data.get(".dockercfg") {
        serde_json::from_slice::<BTreeMap<String, Entry>>(&file.0).ok()
    } else {
        None
    };
    let entries = entries.unwrap_or_default().into_iter().filter(|(key, _)| is_for(key, image));
    entries.filter_map(|(key, entry)| Some((key, entry.credentials()?))).collect()
}

/// The registry and the path of an image.
fn registry_and_path(image: &str) -> (&str, &str) {
    match image.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
        _ => (DEFAULT_REGISTRY, image),
    }
}

fn is_for(key: &str, image: &str) -> bool {
    let key = key.trim_start_matches("https://").trim_start_matches("http://");
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let path = path.trim_matches('/');
    let path = if matches!(path, "v1" | "v2") { "" } else { path };
    let (registry, repository) = registry_and_path(image);
    let host = if host == DEFAULT_REGISTRY_ALIAS { DEFAULT_REGISTRY } else { host };
    host_matches(host, registry) && repository.starts_with(path)
}

/// `*` stands for one part (or a piece of one part) of a host name.
fn host_matches(pattern: &str, host: &str) -> bool {
    let (patterns, parts): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), host.split('.').collect());
    patterns.len() == parts.len()
        && patterns.iter().zip(&parts).all(|(pattern, part)| part_matches(pattern, part))
}

fn part_matches(pattern: &str, part: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == part,
        Some((start, rest)) => part.strip_prefix(start).is_some_and(|left| {
            left.char_indices()
                .map(|(at, _)| at)
                .chain([left.len()])
                .any(|at| part_matches(rest, &left[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn credentials_are_for_a_registry() {
        for (key, image, want) in [
            ("https://index.docker.io/v1/", "busybox", true),
            ("docker.io", "library/busybox:1", true),
            ("registry.example", "registry.example/a/b", true),
            ("registry.example/a", "registry.example/a/b", true),
            ("registry.example/x", "registry.example/a/b", false),
            ("*.example", "eu.example/a", true),
            ("*.example", "a.eu.example/a", false),
            ("registry.example:5000", "registry.example:5000/a", true),
            ("registry.example", "registry.example:5000/a", false),
        ] {
            assert_eq!(is_for(key, image), want, "{key} {image}");
        }
    }

    #[test]
    fn both_formats_of_pull_secrets_are_read() {
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let new = encode(&json!({"auths": {"r.example": {"auth": encode("u:p:w")}}}).to_string());
        let old = encode(&json!({"r.example": {"username": "u", "password": "p:w"}}).to_string());
        for data in [json!({".dockerconfigjson": new}), json!({".dockercfg": old})] {
            let secret: Secret = serde_json::from_value(json!({"data": data})).unwrap();
            let found = matching(&secret, "r.example/x");
            assert_eq!(found.len(), 1);
            assert_eq!((found[0].1.username.as_str(), found[0].1.password.as_str()), ("u", "p:w"));
            assert!(matching(&secret, "other.example/x").is_empty());
        }
    }

    #[test]
    fn the_default_policy_depends_on_the_tag() {
        let policy_of =
            |image: &str| policy(&Container { image: Some(image.into()), ..Container::default() }).to_owned();
        for (image, want) in [
            ("a", "Always"),
            ("a:latest", "Always"),
            ("a:1", "IfNotPresent"),
            ("r.example:5000/a", "Always"),
            ("a@sha256:00", "IfNotPresent"),
        ] {
            assert_eq!(policy_of(image), want, "{image}");
        }
    }

    #[test]
    fn durations_look_like_gos() {
        for (millis, want) in [(12, "12ms"), (1500, "1.5s"), (2000, "2s"), (61_250, "1m1.25s")] {
            assert_eq!(go_duration(Duration::from_millis(millis)), want);
        }
    }
}
