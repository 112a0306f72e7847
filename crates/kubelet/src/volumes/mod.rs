//! A Pod's volumes: made before its containers start, kept up to date while they run, removed after them.

mod atomic;
mod host_path;
mod ownership;
mod sources;
mod tmpfs;
mod tokens;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use coracle_api::quantity::Quantity;
use coracle_clock::Clock;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod, Volume};

use crate::fields::Surroundings;
use crate::objects::Objects;
use atomic::Payload;
use ownership::Access;

pub(crate) use tmpfs::Memory;
pub(crate) use tokens::Tokens;

#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    #[error("{0}")]
    Content(String),
    #[error("no volume plugin matched name: {0}")]
    Unsupported(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A volume that could not be made; the message is that of the event `FailedMount`.
#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume \"{volume}\" : {error}")]
pub(crate) struct MountFailure {
    pub(crate) volume: String,
    #[source]
    pub(crate) error: VolumeError,
}

/// What making the volumes of one Pod needs to know.
#[derive(Debug)]
pub(crate) struct VolumeCx<'a> {
    pub(crate) pod: &'a Pod,
    /// The directory of this Pod under the kubelet's root.
    pub(crate) dir: &'a Path,
    pub(crate) around: &'a Surroundings,
    pub(crate) objects: &'a dyn Objects,
    pub(crate) tokens: &'a Tokens,
    pub(crate) clock: &'a Clock,
    pub(crate) memory: Memory,
}

impl VolumeCx<'_> {
    fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn place(&self, plugin: &str, name: &str) -> PathBuf {
        self.dir.join("volumes").join(format!("kubernetes.io~{plugin}")).join(name)
    }
}

/// Where each volume is on the node, and when to look at them again because of a token.
#[derive(Debug, Default, Clone)]
pub(crate) struct Volumes {
    pub(crate) paths: BTreeMap<String, PathBuf>,
    pub(crate) refresh: Option<Timestamp>,
}

/// Makes every volume of the Pod, or brings its content up to date; can be repeated.
pub(crate) async fn set_up(cx: &VolumeCx<'_>) -> Result<Volumes, MountFailure> {
    let mut made = Volumes::default();
    for volume in cx.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        let fail = |error| MountFailure { volume: volume.name.clone(), error };
        let (path, refresh) = set_up_one(cx, volume).await.map_err(fail)?;
        made.paths.insert(volume.name.clone(), path);
        made.refresh = [made.refresh, refresh].into_iter().flatten().min();
    }
    Ok(made)
}

async fn set_up_one(cx: &VolumeCx<'_>, volume: &Volume) -> Result<(PathBuf, Option<Timestamp>), VolumeError> {
    let name = &volume.name;
    if let Some(source) = &volume.projected {
        let (payload, refresh) = sources::projected(cx, source).await?;
        return Ok((publish(cx, "projected", name, &payload, true)?, refresh));
    }
    let path = if let Some(source) = &volume.empty_dir {
        empty_dir(cx, name, source)?
    } else if let Some(source) = &volume.host_path {
        host_path::prepare(&source.path, source.type_.as_deref().unwrap_or_default())?
    } else if let Some(source) = &volume.config_map {
        let items = source.items.as_deref().unwrap_or_default();
        let mode = sources::mode(source.default_mode);
        let payload =
            sources::config_map(cx, &source.name, items, mode, source.optional == Some(true)).await?;
        publish(cx, "configmap", name, &payload, false)?
    } else if let Some(source) = &volume.secret {
        let items = source.items.as_deref().unwrap_or_default();
        let mode = sources::mode(source.default_mode);
        let secret = source.secret_name.as_deref().unwrap_or_default();
        let payload = sources::secret(cx, secret, items, mode, source.optional == Some(true)).await?;
        publish(cx, "secret", name, &payload, true)?
    } else if let Some(source) = &volume.downward_api {
        let items = source.items.as_deref().unwrap_or_default();
        let payload = sources::downward(cx, items, sources::mode(source.default_mode))?;
        publish(cx, "downward-api", name, &payload, false)?
    } else if let Some(source) = &volume.persistent_volume_claim {
        claimed(cx, &source.claim_name).await?
    } else if volume.ephemeral.is_some() {
        let pod = cx.pod.metadata.name.as_deref().unwrap_or_default();
        claimed(cx, &format!("{pod}-{name}")).await?
    } else {
        return Err(VolumeError::Unsupported(name.clone()));
    };
    Ok((path, None))
}

/// A directory of files; in memory when they are confidential.
fn publish(
    cx: &VolumeCx<'_>,
    plugin: &str,
    name: &str,
    payload: &Payload,
    in_memory: bool,
) -> Result<PathBuf, VolumeError> {
    let dir = cx.place(plugin, name);
    make_open_directory(&dir)?;
    if in_memory {
        tmpfs::ensure(&dir, None, cx.memory)?;
    }
    atomic::publish(&dir, payload, ownership::fs_group(cx.pod), cx.clock.now())?;
    Ok(dir)
}

/// A directory that any user of the container may use, whatever the umask.
fn make_open_directory(dir: &Path) -> io::Result<()> {
    if !dir.is_dir() {
        fs::create_dir_all(dir)?;
        fs::set_permissions(dir, Permissions::from_mode(0o777))?;
    }
    Ok(())
}

fn empty_dir(cx: &VolumeCx<'_>, name: &str, source: &EmptyDirVolumeSource) -> Result<PathBuf, VolumeError> {
    let dir = cx.place("empty-dir", name);
    let fresh = !dir.is_dir();
    make_open_directory(&dir)?;
    match source.medium.as_deref().unwrap_or_default() {
        "" => {}
        "Memory" => {
            let limit = source.size_limit.as_ref().and_then(|limit| Quantity::parse(&limit.0).ok());
            tmpfs::ensure(&dir, limit.map(Quantity::value).filter(|limit| *limit > 0), cx.memory)?;
        }
        other => return Err(VolumeError::Content(format!("unsupported storage medium {other:?}"))),
    }
    if fresh && let Some(group) = ownership::fs_group(cx.pod) {
        ownership::give_to_group(&dir, group, Access::ReadWrite)?;
    }
    Ok(dir)
}

/// The directory behind a bound claim, for volumes that are paths of this node.
async fn claimed(cx: &VolumeCx<'_>, name: &str) -> Result<PathBuf, VolumeError> {
    let content = |error: crate::objects::ReadError| VolumeError::Content(error.to_string());
    let claim = cx.objects.claim(cx.namespace(), name).await.map_err(content)?;
    let bound = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    let volume = claim.spec.and_then(|spec| spec.volume_name).filter(|_| bound);
    let Some(volume) = volume else {
        return Err(VolumeError::Content(format!("PVC {}/{name} is not bound", cx.namespace())));
    };
    let spec = cx.objects.volume(&volume).await.map_err(content)?.spec.unwrap_or_default();
    let dir = if let Some(source) = &spec.host_path {
        host_path::prepare(&source.path, source.type_.as_deref().unwrap_or_default())?
    } else if let Some(source) = &spec.local {
        host_path::prepare(&source.path, "Directory")?
    } else {
        return Err(VolumeError::Unsupported(volume));
    };
    if spec.local.is_some()
        && let Some(group) = ownership::fs_group(cx.pod)
    {
        ownership::give_to_group(&dir, group, Access::ReadWrite)?;
    }
    Ok(dir)
}

/// Removes everything that was made for a Pod below `dir`; can be repeated.
pub(crate) fn tear_down(dir: &Path) -> Result<(), VolumeError> {
    tmpfs::unmount_below(dir)?;
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use serde_json::{Value, json};

    use super::*;
    use crate::objects::fixed::FixedObjects;

    struct Fixture {
        dir: tempfile::TempDir,
        objects: FixedObjects,
        tokens: Tokens,
        clock: Clock,
    }

    impl Fixture {
        fn new() -> Fixture {
            let objects = FixedObjects::default();
            *objects.config_maps.lock().unwrap() = serde_json::from_value(json!([
                {"metadata": {"name": "kube-root-ca.crt", "namespace": "n"}, "data": {"ca.crt": "CA"}},
            ]))
            .unwrap();
            let clock = Clock::stepped("2026-01-01T00:00:00Z".parse().unwrap());
            *objects.tokens.lock().unwrap() = vec![Ok(serde_json::from_value(json!({
                "spec": {"audiences": [], "expirationSeconds": 3607},
                "status": {"token": "TOKEN", "expirationTimestamp": "2026-01-01T01:00:07Z"},
            }))
            .unwrap())];
            Fixture { dir: tempfile::tempdir().unwrap(), objects, tokens: Tokens::default(), clock }
        }

        async fn set_up(&self, volumes: Value, security: Value) -> Result<Volumes, MountFailure> {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {"name": "p", "namespace": "n", "uid": "u"},
                "spec": {"volumes": volumes, "securityContext": security, "containers": [{"name": "c"}]},
            }))
            .unwrap();
            let around = Surroundings::default();
            let cx = VolumeCx {
                pod: &pod,
                dir: self.dir.path(),
                around: &around,
                objects: &self.objects,
                tokens: &self.tokens,
                clock: &self.clock,
                memory: Memory::Disk,
            };
            set_up(&cx).await
        }
    }

    fn api_access() -> Value {
        json!([{"name": "kube-api-access-x", "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        ]}}])
    }

    #[tokio::test]
    async fn the_api_access_volume() {
        let fixture = Fixture::new();
        let made = fixture.set_up(api_access(), json!({})).await.unwrap();
        let dir = &made.paths["kube-api-access-x"];
        for (name, content) in [("token", "TOKEN"), ("ca.crt", "CA"), ("namespace", "n")] {
            assert_eq!(fs::read_to_string(dir.join(name)).unwrap(), content);
            assert_eq!(fs::read_link(dir.join(name)).unwrap(), Path::new("..data").join(name));
            assert_eq!(fs::metadata(dir.join(name)).unwrap().mode() & 0o777, 0o644);
        }
        let refresh = made.refresh.unwrap().as_second() - fixture.clock.unix_seconds();
        assert!((2875..=2886).contains(&refresh), "{refresh}");
    }

    #[tokio::test]
    async fn a_token_of_a_group_is_narrow() {
        let fixture = Fixture::new();
        let own = fs::metadata(fixture.dir.path()).unwrap().gid();
        let made = fixture.set_up(api_access(), json!({"fsGroup": own})).await.unwrap();
        let token = made.paths["kube-api-access-x"].join("token");
        assert_eq!(fs::metadata(token).unwrap().mode() & 0o777, 0o640);
    }

    #[tokio::test]
    async fn what_is_missing_is_a_mount_failure() {
        let fixture = Fixture::new();
        let error = |source: Value| async {
            let mut volume = source;
            volume["name"] = json!("v");
            fixture.set_up(json!([volume]), json!({})).await.unwrap_err().to_string()
        };
        let prefix = "MountVolume.SetUp failed for volume \"v\" : ";
        assert_eq!(
            error(json!({"configMap": {"name": "gone"}})).await,
            format!("{prefix}configmap \"gone\" not found")
        );
        assert_eq!(
            error(json!({"secret": {"secretName": "gone"}})).await,
            format!("{prefix}secret \"gone\" not found")
        );
        let key = json!({"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "k", "path": "k"}]}});
        assert_eq!(error(key).await, format!("{prefix}configmap references non-existent config key: k"));
        let optional = json!([{"name": "v", "secret": {"secretName": "gone", "optional": true}}]);
        assert!(fixture.set_up(optional, json!({})).await.is_ok());
    }

    #[tokio::test]
    async fn an_empty_directory_is_open_and_goes_with_the_pod() {
        let fixture = Fixture::new();
        let made = fixture.set_up(json!([{"name": "v", "emptyDir": {}}]), json!({})).await.unwrap();
        let path = &made.paths["v"];
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o777);
        fs::write(path.join("f"), "x").unwrap();
        fixture.set_up(json!([{"name": "v", "emptyDir": {}}]), json!({})).await.unwrap();
        assert!(path.join("f").exists(), "setting up again keeps the content");
        tear_down(fixture.dir.path()).unwrap();
        assert!(!path.exists());
    }
}
