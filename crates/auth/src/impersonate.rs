//! Acting as somebody else: the Impersonate-* headers, checked and taken off.
//!
//! Constrained impersonation comes first, one mode after another; the older all-or-nothing form is the last. Where none
//! allows it, the first refusal is the one that is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_api::field::go_quote;
use coracle_api::names::{dns_label, dns_subdomain};
use coracle_api::status::Status;
use coracle_api::user::{
    ANONYMOUS, AUTHENTICATED, MASTERS, NODE_PREFIX, NODES, SERVICE_ACCOUNT_PREFIX, SERVICE_ACCOUNTS,
    UNAUTHENTICATED, User,
};
use http::HeaderMap;
use http::header::HeaderName;

use crate::attributes::{Attributes, ResourceTarget};
use crate::authorizer::Authorizer;

/// What all its headers begin with.
const PREFIX: &str = "impersonate-";
const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA_PREFIX: &str = "impersonate-extra-";
const AUTHENTICATION_GROUP: &str = "authentication.k8s.io";
/// With so many groups or extra values one check of `*` is tried before the single ones, as the reference does.
const MANY: usize = 4;

/// Somebody else, and by which right.
#[derive(Debug, Clone, PartialEq)]
pub struct Impersonated {
    pub user: Arc<User>,
    /// The verb that allowed it, for audit; empty for the old form.
    pub constraint: String,
}

/// The user to go on as, or `None` where nothing was asked. `wish` is the request as its sender's own.
pub fn impersonate(
    headers: &mut HeaderMap,
    wish: &Attributes,
    authorizer: &Authorizer,
) -> Result<Option<Impersonated>, Status> {
    // Nearly nobody asks for it, and every request is looked at.
    if !headers.keys().any(|name| name.as_str().starts_with(PREFIX)) {
        return Ok(None);
    }
    let Some(wanted) = wanted(headers)? else { return Ok(None) };
    strip(headers);
    let mut first = None;
    for mode in MODES {
        match mode.check(&wanted, wish, authorizer) {
            Ok(Some(user)) => {
                return Ok(Some(Impersonated { user: Arc::new(user), constraint: mode.constraint() }));
            }
            Ok(None) => {}
            Err(refusal) => first = first.or(Some(refusal)),
        }
    }
    Err(first.unwrap_or_else(|| Status::internal("all impersonation modes failed")))
}

fn strip(headers: &mut HeaderMap) {
    let ours: Vec<HeaderName> = headers
        .keys()
        .filter(|n| [USER, UID, GROUP].contains(&n.as_str()) || n.as_str().starts_with(EXTRA_PREFIX))
        .cloned()
        .collect();
    for name in ours {
        headers.remove(name);
    }
}

fn text(value: &http::HeaderValue) -> Result<String, Status> {
    std::str::from_utf8(value.as_bytes())
        .map(str::to_owned)
        .map_err(|_| Status::bad_request("impersonation headers must be UTF-8"))
}

fn wanted(headers: &HeaderMap) -> Result<Option<User>, Status> {
    let first = |name: &str| headers.get(name).map_or(Ok(String::new()), text);
    let mut user = User { name: first(USER)?, uid: first(UID)?, ..User::default() };
    user.groups = headers.get_all(GROUP).iter().map(text).collect::<Result<_, _>>()?;
    for name in headers.keys() {
        let Some(key) = name.as_str().strip_prefix(EXTRA_PREFIX) else { continue };
        let values = headers.get_all(name).iter().map(text).collect::<Result<Vec<_>, _>>()?;
        user.extra.entry(unescape(key)).or_default().extend(values);
    }
    if user.name.is_empty() {
        if user == User::default() {
            return Ok(None);
        }
        let said = go_user(&user);
        return Err(Status::bad_request(format!("requested {said} without impersonating a user name")));
    }
    Ok(Some(user))
}

/// As Go's `%#v` writes the user.
fn go_user(user: &User) -> String {
    let strings = |list: &[String]| {
        let items: Vec<String> = list.iter().map(|s| go_quote(s)).collect();
        if list.is_empty() { "[]string(nil)".to_owned() } else { format!("[]string{{{}}}", items.join(", ")) }
    };
    let extra: Vec<String> =
        user.extra.iter().map(|(k, v)| format!("{}:{}", go_quote(k), strings(v))).collect();
    let extra = if extra.is_empty() { "(nil)".to_owned() } else { format!("{{{}}}", extra.join(", ")) };
    format!(
        "&user.DefaultInfo{{Name:{}, UID:{}, Groups:{}, Extra:map[string][]string{extra}}}",
        go_quote(&user.name),
        go_quote(&user.uid),
        strings(&user.groups),
    )
}

/// Percent-decoded, or as it stands where that fails. Header names come in lower case.
fn unescape(key: &str) -> String {
    let (mut out, mut bytes) = (Vec::with_capacity(key.len()), key.bytes());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit =
            |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        match (digit(bytes.next()), digit(bytes.next())) {
            (Some(high), Some(low)) => out.push(high * 16 + low),
            _ => return key.to_owned(),
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| key.to_owned())
}

fn is_dns_label(s: &str) -> bool {
    dns_label(s, false).is_empty()
}

fn is_dns_subdomain(s: &str) -> bool {
    dns_subdomain(s, false).is_empty()
}

fn node_name(user: &str) -> Option<&str> {
    user.strip_prefix(NODE_PREFIX).filter(|n| is_dns_subdomain(n))
}

fn service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')?;
    (is_dns_label(namespace) && is_dns_subdomain(name)).then_some((namespace, name))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    AssociatedNode,
    ArbitraryNode,
    ServiceAccount,
    UserInfo,
    Legacy,
}

const MODES: [Mode; 5] =
    [Mode::AssociatedNode, Mode::ArbitraryNode, Mode::ServiceAccount, Mode::UserInfo, Mode::Legacy];

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::AssociatedNode => "associated-node",
            Mode::ArbitraryNode => "arbitrary-node",
            Mode::ServiceAccount => "serviceaccount",
            Mode::UserInfo => "user-info",
            Mode::Legacy => "",
        }
    }

    fn verb(self) -> String {
        if self == Mode::Legacy { "impersonate".into() } else { format!("impersonate:{}", self.name()) }
    }

    fn constraint(self) -> String {
        if self == Mode::Legacy { String::new() } else { self.verb() }
    }

    /// Whether this mode is about such a user at all.
    fn concerns(self, wanted: &User, requestor: &User) -> bool {
        let only_name = wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
        let node = node_name(&wanted.name);
        match self {
            Mode::AssociatedNode => {
                let own = requestor.extra.get("authentication.kubernetes.io/node-name").map(Vec::as_slice);
                only_name
                    && service_account(&requestor.name).is_some()
                    && node.is_some_and(|node| own.is_some_and(|own| own.len() == 1 && own[0] == node))
            }
            Mode::ArbitraryNode => only_name && node.is_some(),
            Mode::ServiceAccount => only_name && service_account(&wanted.name).is_some(),
            Mode::UserInfo => node.is_none() && service_account(&wanted.name).is_none(),
            Mode::Legacy => true,
        }
    }

    fn check(
        self,
        wanted: &User,
        wish: &Attributes,
        authorizer: &Authorizer,
    ) -> Result<Option<User>, Status> {
        if !self.concerns(wanted, &wish.user) {
            return Ok(None);
        }
        if self != Mode::Legacy {
            let verb = format!("impersonate-on:{}:{}", self.name(), wish.verb);
            authorizer.authorize(wish.with_verb(&verb))?;
        }
        let checks = Checks { mode: self, requestor: &wish.user, authorizer };
        let mut user = wanted.clone();
        checks.name(wanted, &mut user)?;
        if !wanted.uid.is_empty() {
            checks.may(ResourceTarget::new(AUTHENTICATION_GROUP, "uids").named(&wanted.uid))?;
        }
        checks.groups(&wanted.groups)?;
        checks.extra(&wanted.extra)?;
        complete(&mut user);
        Ok(Some(user))
    }
}

/// The group that says whether somebody proved who they are.
fn complete(user: &mut User) {
    let wanted = if user.name == ANONYMOUS {
        UNAUTHENTICATED
    } else if user.in_group(UNAUTHENTICATED) {
        return;
    } else {
        AUTHENTICATED
    };
    if !user.in_group(wanted) {
        user.groups.push(wanted.into());
    }
}

/// The checks of one mode: each part of the user is a resource that the verb must be allowed on.
struct Checks<'a> {
    mode: Mode,
    requestor: &'a Arc<User>,
    authorizer: &'a Authorizer,
}

impl Checks<'_> {
    fn attributes(&self, target: ResourceTarget) -> Attributes {
        let target = ResourceTarget { version: "v1".into(), ..target };
        Attributes::resource(Arc::clone(self.requestor), &self.mode.verb(), target)
    }

    fn may(&self, target: ResourceTarget) -> Result<(), Status> {
        self.authorizer.authorize(self.attributes(target)).map(|_| ())
    }

    fn never(&self, target: ResourceTarget, why: &str) -> Result<(), Status> {
        Err(self.attributes(target).denial(why))
    }

    fn constrained(&self) -> bool {
        self.mode != Mode::Legacy
    }

    /// Users and groups were resources of the core group before constrained impersonation.
    fn group(&self) -> &'static str {
        if self.constrained() { AUTHENTICATION_GROUP } else { "" }
    }

    fn name(&self, wanted: &User, user: &mut User) -> Result<(), Status> {
        let mut target = ResourceTarget::new(self.group(), "users").named(&wanted.name);
        if self.constrained()
            && let Some(node) = node_name(&wanted.name)
        {
            // Being associated is checked; which node it is does not matter then.
            let name = if self.mode == Mode::AssociatedNode { "*" } else { node };
            target = ResourceTarget::new(self.group(), "nodes").named(name);
            user.groups = vec![NODES.into()];
        }
        if let Some((namespace, name)) = service_account(&wanted.name) {
            target = ResourceTarget::new(self.group(), "serviceaccounts").within(namespace).named(name);
            if wanted.groups.is_empty() {
                user.groups = vec![SERVICE_ACCOUNTS.into(), format!("{SERVICE_ACCOUNTS}:{namespace}")];
            }
        }
        self.may(target)
    }

    fn groups(&self, groups: &[String]) -> Result<(), Status> {
        if groups.is_empty() {
            return Ok(());
        }
        let target = |name: &str| ResourceTarget::new(self.group(), "groups").named(name);
        if self.constrained() {
            if groups.iter().any(String::is_empty) {
                return self.never(target(""), "impersonating the empty string group is not allowed");
            }
            if groups.iter().any(|g| g == MASTERS) {
                return self.never(target(MASTERS), "impersonating the system:masters group is not allowed");
            }
            if groups.len() >= MANY && self.may(target("*")).is_ok() {
                return Ok(());
            }
        }
        groups.iter().try_for_each(|group| self.may(target(group)))
    }

    fn extra(&self, extra: &BTreeMap<String, Vec<String>>) -> Result<(), Status> {
        if extra.is_empty() {
            return Ok(());
        }
        let target = |key: &str, value: &str| {
            ResourceTarget::new(AUTHENTICATION_GROUP, "userextras").subresource(key).named(value)
        };
        if self.constrained() {
            if let Err(why) = extra.iter().try_for_each(|(key, values)| check_extra(key, values)) {
                return self.never(target("", ""), &why);
            }
            let many = extra.len() >= MANY || extra.values().map(Vec::len).sum::<usize>() >= MANY;
            if many && self.may(target("*", "*")).is_ok() {
                return Ok(());
            }
        }
        extra
            .iter()
            .flat_map(|(key, values)| values.iter().map(move |v| (key, v)))
            .try_for_each(|(key, value)| self.may(target(key, value)))
    }
}

fn check_extra(key: &str, values: &[String]) -> Result<(), String> {
    if key.is_empty() {
        return Err("impersonating the empty string key in extra is not allowed".into());
    }
    let prefixed =
        key.split_once('/').is_some_and(|(domain, path)| is_dns_subdomain(domain) && !path.is_empty());
    if !prefixed {
        return Err(format!(
            "impersonating an invalid key in extra is not allowed: extra.key: Invalid value: {}: must be a \
             domain-prefixed path (such as \"acme.io/foo\")",
            go_quote(key)
        ));
    }
    if key.chars().any(char::is_uppercase) {
        return Err(format!("impersonating a non-lowercase key in extra is not allowed: {}", go_quote(key)));
    }
    if values.is_empty() {
        return Err("impersonating empty values in extra is not allowed".into());
    }
    if values.iter().any(String::is_empty) {
        return Err("impersonating the empty string value in extra is not allowed".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
