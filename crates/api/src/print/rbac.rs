//! Role bindings in tables. Roles print as any object does.

use serde_json::Value;

use super::cell::{age, name, string};
use super::{AGE, Column, Columns, NAME, text as column};
use crate::object::{items, text};

/// RoleBinding and ClusterRoleBinding.
pub static BINDING: Columns = Columns {
    columns: &[
        NAME,
        column("Role"),
        AGE,
        Column::wide("Users"),
        Column::wide("Groups"),
        Column::wide("ServiceAccounts"),
    ],
    cells: |obj, now| {
        let role = format!("{}/{}", text(obj, &["roleRef", "kind"]), text(obj, &["roleRef", "name"]));
        let subjects = |kind: &str| {
            let of_kind = items(obj, &["subjects"]).iter().filter(|s| text(s, &["kind"]) == kind);
            let shown = of_kind.map(|s| match (kind, text(s, &["namespace"])) {
                ("ServiceAccount", ns) if !ns.is_empty() => format!("{ns}/{}", text(s, &["name"])),
                _ => text(s, &["name"]).to_owned(),
            });
            Value::String(shown.collect::<Vec<_>>().join(", "))
        };
        vec![
            name(obj),
            string(role),
            age(obj, now),
            subjects("User"),
            subjects("Group"),
            subjects("ServiceAccount"),
        ]
    },
};
