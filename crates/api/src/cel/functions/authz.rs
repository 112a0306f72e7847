//! `authorizer`: what somebody may do, asked of whoever runs the expression.

use std::fmt;
use std::rc::Rc;

use super::{Result, Row, fail, no_overload};
use crate::cel::value::Val;
use crate::names;

const AUTHORIZER: &str = "kubernetes.authorization.Authorizer";
const RESOURCE_CHECK: &str = "kubernetes.authorization.ResourceCheck";

/// The variables of an environment that asks, with their types.
pub(crate) const VARIABLES: [(&str, &str); 2] =
    [("authorizer", AUTHORIZER), ("authorizer.requestResource", RESOURCE_CHECK)];

const NARROWED: &[&str] =
    &["kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.ResourceCheck"];

pub(super) const ROWS: &[Row] = &[
    ("path", &["kubernetes.authorization.Authorizer.(string) -> kubernetes.authorization.PathCheck"], |a| {
        match &a[..] {
            [Val::Authz(_), Val::String(path)] if path.trim().is_empty() => fail("path must not be empty"),
            [Val::Authz(authz), Val::String(path)] => authz.with("kubernetes.authorization.PathCheck", |r| {
                r.path = path.to_string();
            }),
            _ => no_overload(),
        }
    }),
    (
        "group",
        &["kubernetes.authorization.Authorizer.(string) -> kubernetes.authorization.GroupCheck"],
        |a| narrowed(&a, "kubernetes.authorization.GroupCheck", |r, group| r.group = group),
    ),
    (
        "serviceAccount",
        &["kubernetes.authorization.Authorizer.(string, string) -> kubernetes.authorization.Authorizer"],
        service_account,
    ),
    (
        "resource",
        &["kubernetes.authorization.GroupCheck.(string) -> kubernetes.authorization.ResourceCheck"],
        |a| match &a[..] {
            [_, Val::String(resource)] if resource.trim().is_empty() => fail("resource must not be empty"),
            _ => narrowed(&a, RESOURCE_CHECK, |r, resource| r.resource = resource),
        },
    ),
    ("subresource", NARROWED, |a| narrowed(&a, RESOURCE_CHECK, |r, sub| r.subresource = sub)),
    ("namespace", NARROWED, |a| narrowed(&a, RESOURCE_CHECK, |r, namespace| r.namespace = namespace)),
    ("name", NARROWED, |a| narrowed(&a, RESOURCE_CHECK, |r, name| r.name = name)),
    ("fieldSelector", NARROWED, |a| narrowed(&a, RESOURCE_CHECK, |r, fields| r.field_selector = fields)),
    ("labelSelector", NARROWED, |a| narrowed(&a, RESOURCE_CHECK, |r, labels| r.label_selector = labels)),
    (
        "check",
        &[
            "kubernetes.authorization.PathCheck.(string) -> kubernetes.authorization.Decision",
            "kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.Decision",
        ],
        check,
    ),
    ("allowed", &["kubernetes.authorization.Decision.() -> bool"], |a| {
        decision(&a, |d| Val::Bool(d.is_allowed))
    }),
    ("reason", &["kubernetes.authorization.Decision.() -> string"], |a| {
        decision(&a, |d| Val::text(d.reason.as_str()))
    }),
    ("errored", &["kubernetes.authorization.Decision.() -> bool"], |a| {
        decision(&a, |d| Val::Bool(d.error.is_some()))
    }),
    ("error", &["kubernetes.authorization.Decision.() -> string"], |a| {
        decision(&a, |d| Val::text(d.error.as_deref().unwrap_or_default()))
    }),
];

/// Whoever knows what is allowed.
pub trait Authorizer: fmt::Debug {
    fn decide(&self, request: &Request, verb: &str) -> Decision;
}

/// What is asked about: a path, or a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// `(namespace, name)` where it is not about who made the request.
    pub service_account: Option<(String, String)>,
    pub path: String,
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub field_selector: String,
    pub label_selector: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    pub is_allowed: bool,
    pub reason: String,
    pub error: Option<String>,
}

/// An authorizer, a question that is being made, or an answer.
#[derive(Debug)]
pub enum Authz<'a> {
    Asking { ty: &'static str, ask: &'a dyn Authorizer, request: Box<Request> },
    Answer(Decision),
}

pub(crate) fn bind<'a>(
    ask: &'a dyn Authorizer,
    request: Option<Request>,
) -> impl Iterator<Item = (&'a str, Val<'a>)> {
    let asking =
        move |ty, request| Val::Authz(Rc::new(Authz::Asking { ty, ask, request: Box::new(request) }));
    let plain = ("authorizer", asking(AUTHORIZER, Request::default()));
    let of_request = request.map(|r| ("authorizer.requestResource", asking(RESOURCE_CHECK, r)));
    std::iter::once(plain).chain(of_request)
}

impl<'a> Authz<'a> {
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Authz::Asking { ty, .. } => ty,
            Authz::Answer(_) => "kubernetes.authorization.Decision",
        }
    }

    fn with(&self, to: &'static str, change: impl FnOnce(&mut Request)) -> Result<'a> {
        let Authz::Asking { ask, request, .. } = self else { return no_overload() };
        let mut request = request.clone();
        change(&mut request);
        Ok(Val::Authz(Rc::new(Authz::Asking { ty: to, ask: *ask, request })))
    }
}

fn narrowed<'a>(args: &[Val<'a>], to: &'static str, change: fn(&mut Request, String)) -> Result<'a> {
    match args {
        [Val::Authz(authz), Val::String(text)] => authz.with(to, |r| change(r, text.to_string())),
        _ => no_overload(),
    }
}

fn service_account(args: Vec<Val<'_>>) -> Result<'_> {
    let [Val::Authz(authz), Val::String(namespace), Val::String(name)] = &args[..] else {
        return no_overload();
    };
    if !names::dns_subdomain(name, false).is_empty() {
        return fail("Invalid service account name");
    }
    if !names::dns_label(namespace, false).is_empty() {
        return fail("Invalid service account namespace");
    }
    authz.with(AUTHORIZER, |r| r.service_account = Some((namespace.to_string(), name.to_string())))
}

fn check(args: Vec<Val<'_>>) -> Result<'_> {
    let [Val::Authz(authz), Val::String(verb)] = &args[..] else { return no_overload() };
    let Authz::Asking { ask, request, .. } = &**authz else { return no_overload() };
    Ok(Val::Authz(Rc::new(Authz::Answer(ask.decide(request, verb)))))
}

fn decision<'a>(args: &[Val<'a>], of: fn(&Decision) -> Val<'a>) -> Result<'a> {
    match args {
        [Val::Authz(authz)] => match &**authz {
            Authz::Answer(decision) => Ok(of(decision)),
            Authz::Asking { .. } => no_overload(),
        },
        _ => no_overload(),
    }
}
