//! What the expressions of webhooks and admission policies may name, and what they must come to.

use std::sync::LazyLock;

use super::{Decl, Env, Program, Type};

/// An expression that compiled, or why it did not.
pub type Compiled = Result<Program, String>;

fn group_version(last: &str) -> Decl {
    let name = if last == "kind" { "kubernetes.GroupVersionKind" } else { "kubernetes.GroupVersionResource" };
    let fields = ["group", "version", last].map(|key| (key.to_owned(), Decl::String));
    Decl::object(name, fields)
}

/// The declared types of `request` and `namespaceObject`.
static REQUEST: LazyLock<Decl> = LazyLock::new(|| {
    let user = Decl::object(
        "kubernetes.UserInfo",
        [
            ("username", Decl::String),
            ("uid", Decl::String),
            ("groups", Decl::list(Decl::String)),
            ("extra", Decl::map(Decl::list(Decl::String))),
        ]
        .map(|(key, of)| (key.to_owned(), of)),
    );
    let fields = [
        ("kind", group_version("kind")),
        ("resource", group_version("resource")),
        ("subResource", Decl::String),
        ("requestKind", group_version("kind")),
        ("requestResource", group_version("resource")),
        ("requestSubResource", Decl::String),
        ("name", Decl::String),
        ("namespace", Decl::String),
        ("operation", Decl::String),
        ("userInfo", user),
        ("dryRun", Decl::Bool),
        ("options", Decl::Dyn),
    ];
    Decl::object("kubernetes.AdmissionRequest", fields.map(|(key, of)| (key.to_owned(), of)))
});

static NAMESPACE: LazyLock<Decl> = LazyLock::new(|| {
    let text = |key: &str| (key.to_owned(), Decl::String);
    let metadata = Decl::object(
        "kubernetes.NamespaceMetadata",
        [
            text("name"),
            text("generateName"),
            text("namespace"),
            text("UID"),
            text("resourceVersion"),
            ("labels".to_owned(), Decl::map(Decl::String)),
            ("annotations".to_owned(), Decl::map(Decl::String)),
            ("generation".to_owned(), Decl::Int),
            ("creationTimestamp".to_owned(), Decl::Timestamp),
            ("deletionTimestamp".to_owned(), Decl::Timestamp),
            ("deletionGracePeriodSeconds".to_owned(), Decl::Int),
        ],
    );
    let spec =
        Decl::object("kubernetes.NamespaceSpec", [("finalizers".to_owned(), Decl::list(Decl::String))]);
    let status = Decl::object("kubernetes.NamespaceStatus", [text("phase")]);
    let fields = [("metadata", metadata), ("spec", spec), ("status", status)];
    Decl::object("kubernetes.Namespace", fields.map(|(key, of)| (key.to_owned(), of)))
});

/// What an expression of a hook may name, with objects of these types.
pub fn env(object: Decl, params: Option<Decl>, has_authorizer: bool) -> Env {
    let mut env = Env::new()
        .with("object", object.clone())
        .with("oldObject", object)
        .with("request", REQUEST.clone())
        .with("namespaceObject", NAMESPACE.clone());
    if let Some(params) = params {
        env = env.with("params", params);
    }
    if has_authorizer { env.with_authorizer() } else { env }
}

/// An expression that must come to one of these types.
pub fn compile(env: &Env, source: &str, wanted: &[Type]) -> Compiled {
    let program = env.compile(source).map_err(|e| format!("compilation failed: {e}"))?;
    if *program.ty() == Type::Dyn || wanted.is_empty() || wanted.contains(program.ty()) {
        return Ok(program);
    }
    Err(match wanted {
        [one] => format!("must evaluate to {one}"),
        several => {
            let names: Vec<String> = several.iter().map(ToString::to_string).collect();
            format!("must evaluate to one of [{}]", names.join(" "))
        }
    })
}

/// What a mutation's expression must come to: a part of an object to apply, or the operations of a JSON patch.
pub fn patch_type(applies: bool) -> Type {
    if applies { Type::object("Object", []) } else { Type::list(Type::object("JSONPatch", [])) }
}
