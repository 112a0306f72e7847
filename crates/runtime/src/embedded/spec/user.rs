//! Who a container's process runs as: the image's user and the security context, looked up in the image's own
//! `/etc/passwd` and `/etc/group`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use crate::SecurityContext;

/// User databases beyond this are not read.
const MAX_FILE: u64 = 8 << 20;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) additional_gids: Vec<u32>,
}

/// The user databases of an image.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    /// From the uppermost of `layers` that has them.
    pub(crate) fn read<'a>(layers: impl Iterator<Item = &'a Path> + Clone) -> Accounts {
        let first =
            |name: &str| layers.clone().find_map(|layer| read_inside(layer, name)).unwrap_or_default();
        Accounts { passwd: first("etc/passwd"), group: first("etc/group") }
    }

    /// `user` is the image's: `name`, `uid`, `name:group`, `uid:gid` or empty.
    pub(super) fn resolve(&self, user: &str, security: &SecurityContext) -> Result<User, String> {
        let (name, group) = user.split_once(':').map_or((user, None), |(name, group)| (name, Some(group)));
        let (uid, image_group) = match (security.run_as_user, name) {
            (Some(uid), _) => (uid, None),
            (None, "") => (0, group),
            (None, name) => (self.uid(name)?, group),
        };
        let account = self.passwd_entry(|fields| fields.get(2) == Some(&uid.to_string().as_str()));
        let primary = account.as_ref().and_then(|fields| fields.get(3)?.parse().ok()).unwrap_or(0);
        let gid = match (security.run_as_group, image_group) {
            (Some(gid), _) => gid,
            (None, Some(group)) if !group.is_empty() => self.gid(group)?,
            _ => primary,
        };
        let mut additional_gids = vec![gid];
        if let Some(name) = account.as_ref().and_then(|fields| fields.first()) {
            additional_gids.extend(self.groups_of(name));
        }
        additional_gids.extend(&security.supplemental_groups);
        additional_gids.sort_unstable();
        additional_gids.dedup();
        Ok(User { uid, gid, additional_gids })
    }

    fn uid(&self, name: &str) -> Result<u32, String> {
        if let Ok(uid) = name.parse() {
            return Ok(uid);
        }
        let found = self.passwd_entry(|fields| fields.first() == Some(&name));
        let uid = found.and_then(|fields| fields.get(2)?.parse().ok());
        uid.ok_or_else(|| format!("unable to find user {name}: no matching entries in passwd file"))
    }

    fn gid(&self, name: &str) -> Result<u32, String> {
        if let Ok(gid) = name.parse() {
            return Ok(gid);
        }
        let mut entries = self.group.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let gid = entries
            .find(|fields| fields.first() == Some(&name))
            .and_then(|fields| fields.get(2)?.parse().ok());
        gid.ok_or_else(|| format!("unable to find group {name}: no matching entries in group file"))
    }

    fn groups_of(&self, name: &str) -> Vec<u32> {
        let entries = self.group.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let member =
            |fields: &Vec<&str>| fields.get(3).is_some_and(|members| members.split(',').any(|m| m == name));
        entries.filter(member).filter_map(|fields| fields.get(2)?.parse().ok()).collect()
    }

    fn passwd_entry(&self, wanted: impl Fn(&[&str]) -> bool) -> Option<Vec<&str>> {
        self.passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| wanted(fields))
    }

    pub(super) fn home(&self, uid: u32) -> Option<&str> {
        let entry = self.passwd_entry(|fields| fields.get(2) == Some(&uid.to_string().as_str()))?;
        entry.get(5).copied().filter(|home| !home.is_empty())
    }
}

/// The image may hold any symlink: resolved as if the layer were the root.
fn read_inside(layer: &Path, name: &str) -> Option<String> {
    let root = File::open(layer).ok()?;
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let file: File = openat2(&root, name, how).ok()?.into();
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/var/www:/bin/sh\n".into(),
            group: "root:x:0:\nweb:x:34:\nlogs:x:70:web,other\n".into(),
        }
    }

    fn user(uid: u32, gid: u32, additional_gids: &[u32]) -> User {
        User { uid, gid, additional_gids: additional_gids.into() }
    }

    #[test]
    fn resolves_the_users_of_images() {
        let none = SecurityContext::default();
        let check = |name: &str| accounts().resolve(name, &none);
        assert_eq!(check(""), Ok(user(0, 0, &[0])));
        assert_eq!(check("web"), Ok(user(33, 34, &[34, 70])));
        assert_eq!(check("33"), Ok(user(33, 34, &[34, 70])));
        assert_eq!(check("1000"), Ok(user(1000, 0, &[0])));
        assert_eq!(check("1000:logs"), Ok(user(1000, 70, &[70])));
        assert_eq!(
            check("ghost").unwrap_err(),
            "unable to find user ghost: no matching entries in passwd file"
        );
    }

    #[test]
    fn the_security_context_wins() {
        let security = SecurityContext {
            run_as_user: Some(2000),
            run_as_group: Some(3000),
            supplemental_groups: vec![5, 4],
            ..SecurityContext::default()
        };
        assert_eq!(accounts().resolve("web:web", &security), Ok(user(2000, 3000, &[4, 5, 3000])));
    }
}
