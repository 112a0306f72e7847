//! The kinds of bodies that no path serves on its own: what subresources take and give.

use coracle_api::Scope;
use coracle_api::kinds::{GroupVersionKind, Kind, Part};
use coracle_api::print::Plain;
use coracle_api::rules::Ordinary;

pub(crate) fn scale() -> Kind {
    body("autoscaling", "v1", "Scale", "io.k8s.api.autoscaling.v1.Scale")
}

pub(crate) fn token_request() -> Kind {
    body("authentication.k8s.io", "v1", "TokenRequest", "io.k8s.api.authentication.v1.TokenRequest")
}

pub(crate) fn eviction() -> Kind {
    body("policy", "v1", "Eviction", "io.k8s.api.policy.v1.Eviction")
}

pub(crate) fn binding() -> Kind {
    body("", "v1", "Binding", "io.k8s.api.core.v1.Binding")
}

/// What a request to connect asks for; its query says it, so that no schema knows it.
pub(crate) fn options(gvk: GroupVersionKind) -> Kind {
    typed(gvk, "")
}

fn body(group: &'static str, version: &'static str, kind: &'static str, schema: &'static str) -> Kind {
    typed(GroupVersionKind { group: group.into(), version: version.into(), kind: kind.into() }, schema)
}

fn typed(gvk: GroupVersionKind, schema: &'static str) -> Kind {
    Kind {
        group: gvk.group,
        version: gvk.version,
        kind: gvk.kind,
        plural: "".into(),
        singular: "".into(),
        short_names: (&[][..]).into(),
        list_kind: "".into(),
        categories: (&[][..]).into(),
        scope: Scope::Namespaced,
        verbs: (&[][..]).into(),
        subresources: (&[][..]).into(),
        storage: "".into(),
        is_view: false,
        schema: schema.into(),
        rules: Part::Static(&Ordinary),
        print: Part::Static(&Plain),
        custom: None,
    }
}
