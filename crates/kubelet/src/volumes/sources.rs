//! What configMap, secret, downwardAPI and projected volumes hold.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, ProjectedVolumeSource, VolumeProjection};

use super::atomic::{File, Payload};
use super::tokens::Wanted;
use super::{VolumeCx, VolumeError, ownership};
use crate::fields;
use crate::objects::ReadError;

/// Of a file whose volume says nothing.
pub(crate) const DEFAULT_MODE: u32 = 0o644;
/// Of a token that belongs to the Pod's user or group.
const TOKEN_MODE: u32 = 0o600;

pub(crate) fn mode(value: Option<i32>) -> u32 {
    value.and_then(|value| u32::try_from(value).ok()).unwrap_or(DEFAULT_MODE)
}

fn file(data: Vec<u8>, mode: u32) -> File {
    File { data, mode, owner: None }
}

/// Which words the reference uses for a missing key of each kind.
#[derive(Clone, Copy)]
enum Kind {
    ConfigMap,
    Secret,
}

impl Kind {
    fn missing(self, name: &str, error: ReadError) -> VolumeError {
        let kind = match self {
            Kind::ConfigMap => "configmap",
            Kind::Secret => "secret",
        };
        match error {
            ReadError::NotFound(_) => VolumeError::Content(format!("{kind} \"{name}\" not found")),
            ReadError::Other(message) => VolumeError::Content(message),
        }
    }

    fn no_key(self, key: &str) -> VolumeError {
        VolumeError::Content(match self {
            Kind::ConfigMap => format!("configmap references non-existent config key: {key}"),
            Kind::Secret => format!("references non-existent secret key: {key}"),
        })
    }
}

fn select(
    data: BTreeMap<String, Vec<u8>>,
    items: &[KeyToPath],
    default_mode: u32,
    optional: bool,
    kind: Kind,
) -> Result<Payload, VolumeError> {
    if items.is_empty() {
        return Ok(data.into_iter().map(|(key, value)| (key, file(value, default_mode))).collect());
    }
    let mut payload = Payload::new();
    for item in items {
        match data.get(&item.key) {
            Some(value) => {
                let mode = item.mode.map_or(default_mode, |mode| self::mode(Some(mode)));
                payload.insert(item.path.clone(), file(value.clone(), mode));
            }
            None if optional => {}
            None => return Err(kind.no_key(&item.key)),
        }
    }
    Ok(payload)
}

pub(crate) async fn config_map(
    cx: &VolumeCx<'_>,
    name: &str,
    items: &[KeyToPath],
    default_mode: u32,
    optional: bool,
) -> Result<Payload, VolumeError> {
    let data = match cx.objects.config_map(cx.namespace(), name).await {
        Ok(found) => {
            let text =
                found.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
            let binary = found.binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
            text.chain(binary).collect()
        }
        Err(error) if error.is_not_found() && optional => return Ok(Payload::new()),
        Err(error) => return Err(Kind::ConfigMap.missing(name, error)),
    };
    select(data, items, default_mode, optional, Kind::ConfigMap)
}

pub(crate) async fn secret(
    cx: &VolumeCx<'_>,
    name: &str,
    items: &[KeyToPath],
    default_mode: u32,
    optional: bool,
) -> Result<Payload, VolumeError> {
    let data = match cx.objects.secret(cx.namespace(), name).await {
        Ok(found) => found.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect(),
        Err(error) if error.is_not_found() && optional => return Ok(Payload::new()),
        Err(error) => return Err(Kind::Secret.missing(name, error)),
    };
    select(data, items, default_mode, optional, Kind::Secret)
}

pub(crate) fn downward(
    cx: &VolumeCx<'_>,
    items: &[DownwardAPIVolumeFile],
    default_mode: u32,
) -> Result<Payload, VolumeError> {
    let mut payload = Payload::new();
    for item in items {
        let value = if let Some(field) = &item.field_ref {
            fields::pod_field(cx.pod, &field.field_path, cx.around)
        } else if let Some(selector) = &item.resource_field_ref {
            fields::resource_field(cx.pod, None, selector, cx.around)
        } else {
            continue;
        };
        let value = value.map_err(|error| VolumeError::Content(error.to_string()))?;
        let mode = item.mode.map_or(default_mode, |mode| self::mode(Some(mode)));
        payload.insert(item.path.clone(), file(value.into_bytes(), mode));
    }
    Ok(payload)
}

/// The files of a projected volume, and when its first token is due for refresh.
pub(crate) async fn projected(
    cx: &VolumeCx<'_>,
    source: &ProjectedVolumeSource,
) -> Result<(Payload, Option<Timestamp>), VolumeError> {
    let default_mode = mode(source.default_mode);
    let mut payload = Payload::new();
    let mut refresh: Option<Timestamp> = None;
    let mut errors = Vec::new();
    for projection in source.sources.iter().flatten() {
        match project(cx, projection, default_mode).await {
            Ok((files, due)) => {
                payload.extend(files);
                refresh = [refresh, due].into_iter().flatten().min();
            }
            Err(error) => errors.push(error.to_string()),
        }
    }
    match errors.len() {
        0 => Ok((payload, refresh)),
        1 => Err(VolumeError::Content(errors.remove(0))),
        _ => Err(VolumeError::Content(format!("[{}]", errors.join(", ")))),
    }
}

async fn project(
    cx: &VolumeCx<'_>,
    projection: &VolumeProjection,
    default_mode: u32,
) -> Result<(Payload, Option<Timestamp>), VolumeError> {
    if let Some(source) = &projection.secret {
        let items = source.items.as_deref().unwrap_or_default();
        let optional = source.optional == Some(true);
        return Ok((secret(cx, &source.name, items, default_mode, optional).await?, None));
    }
    if let Some(source) = &projection.config_map {
        let items = source.items.as_deref().unwrap_or_default();
        let optional = source.optional == Some(true);
        return Ok((config_map(cx, &source.name, items, default_mode, optional).await?, None));
    }
    if let Some(source) = &projection.downward_api {
        return Ok((downward(cx, source.items.as_deref().unwrap_or_default(), default_mode)?, None));
    }
    if let Some(source) = &projection.service_account_token {
        let wanted = Wanted {
            pod: cx.pod,
            audience: source.audience.as_deref().unwrap_or_default(),
            seconds: source.expiration_seconds,
        };
        let (token, due) = cx.tokens.get(wanted, cx.objects, cx.clock).await.map_err(VolumeError::Content)?;
        let owner = ownership::common_user(cx.pod);
        let narrow = owner.is_some() || ownership::fs_group(cx.pod).is_some();
        let mode = if narrow { TOKEN_MODE } else { default_mode };
        let file = File { data: token.into_bytes(), mode, owner };
        return Ok((Payload::from([(source.path.clone(), file)]), Some(due)));
    }
    Err(VolumeError::Unsupported("projected source".to_owned()))
}
