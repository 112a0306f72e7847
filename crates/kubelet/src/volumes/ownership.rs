//! Gives the content of a volume to the Pod's `fsGroup`.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;

const READ_WRITE: u32 = 0o660;
const READ_ONLY: u32 = 0o440;
const SEARCH: u32 = 0o110;
const SET_GROUP: u32 = 0o2000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    ReadOnly,
    ReadWrite,
}

/// Everything below (and with) `root` gets `group`, the group's permissions and, on directories, the setgid bit.
pub(crate) fn give_to_group(root: &Path, group: u32, access: Access) -> io::Result<()> {
    let metadata = fs::symlink_metadata(root)?;
    give_one(root, &metadata, group, access)?;
    if metadata.is_dir() {
        for entry in fs::read_dir(root)? {
            give_to_group(&entry?.path(), group, access)?;
        }
    }
    Ok(())
}

fn give_one(path: &Path, metadata: &Metadata, group: u32, access: Access) -> io::Result<()> {
    if metadata.gid() != group {
        lchown(path, None, Some(group))?;
    }
    if metadata.is_symlink() {
        return Ok(());
    }
    let mut mask = if access == Access::ReadOnly { READ_ONLY } else { READ_WRITE };
    if metadata.is_dir() {
        mask |= SEARCH | SET_GROUP;
    }
    fs::set_permissions(path, Permissions::from_mode((metadata.mode() & 0o7777) | mask))
}

fn id(value: Option<i64>) -> Option<u32> {
    value.and_then(|value| u32::try_from(value).ok())
}

pub(crate) fn fs_group(pod: &Pod) -> Option<u32> {
    id(pod.spec.as_ref()?.security_context.as_ref()?.fs_group)
}

/// The user as which every container of the Pod runs, when they all name the same one.
pub(crate) fn common_user(pod: &Pod) -> Option<u32> {
    let of_pod =
        pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref()).and_then(|it| it.run_as_user);
    let mut common: Option<i64> = None;
    for container in crate::fields::containers_of(pod) {
        let user = container.security_context.as_ref().and_then(|it| it.run_as_user).or(of_pod)?;
        if common.is_some_and(|common| common != user) {
            return None;
        }
        common = Some(user);
    }
    id(common)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_common_user_needs_all_containers_to_agree() {
        let user = |pod_user: Option<i64>, users: &[Option<i64>]| {
            let containers: Vec<_> = users
                .iter()
                .enumerate()
                .map(|(i, user)| json!({"name": format!("c{i}"), "securityContext": {"runAsUser": user}}))
                .collect();
            let spec = json!({"securityContext": {"runAsUser": pod_user}, "containers": containers});
            common_user(&serde_json::from_value(json!({"spec": spec})).unwrap())
        };
        assert_eq!(user(None, &[None]), None);
        assert_eq!(user(Some(7), &[None, None]), Some(7));
        assert_eq!(user(Some(7), &[None, Some(8)]), None);
        assert_eq!(user(None, &[Some(8), Some(8)]), Some(8));
    }

    #[test]
    fn modes_are_widened_for_the_group() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "x").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let own_group = fs::metadata(&file).unwrap().gid();
        give_to_group(dir.path(), own_group, Access::ReadOnly).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o2110, 0o2110);
        give_to_group(dir.path(), own_group, Access::ReadWrite).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o660);
    }
}
