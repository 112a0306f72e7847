//! What a token claims.

use coracle_api::object::text;
use coracle_api::user::SERVICE_ACCOUNT_PREFIX;
use serde_json::{Map, Value, json};

use super::{Bound, Order, Ref};

/// The claims of a token whose signature is good.
#[derive(Debug)]
pub(super) struct Claims {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) audiences: Vec<String>,
    pub(super) jti: String,
    pub(super) expires: Option<i64>,
    pub(super) not_before: Option<i64>,
    pub(super) issued_at: Option<i64>,
    pub(super) scope: Scope,
}

#[derive(Debug)]
pub(super) enum Scope {
    Bound(BoundScope),
    Legacy(LegacyScope),
}

#[derive(Debug)]
pub(super) struct BoundScope {
    pub(super) namespace: String,
    pub(super) service_account: Ref,
    pub(super) pod: Option<Ref>,
    pub(super) node: Option<Ref>,
    pub(super) secret: Option<Ref>,
    pub(super) warn_after: Option<i64>,
}

#[derive(Debug)]
pub(super) struct LegacyScope {
    pub(super) namespace: String,
    pub(super) secret: String,
    pub(super) service_account: Ref,
}

pub(super) fn subject(namespace: &str, name: &str) -> String {
    format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}")
}

fn reference(r: &Ref) -> Value {
    if r.uid.is_empty() { json!({"name": r.name}) } else { json!({"name": r.name, "uid": r.uid}) }
}

/// The claim `kubernetes.io`.
pub(super) fn private(order: &Order, warn_after: Option<i64>) -> Value {
    let mut out = Map::new();
    out.insert("namespace".into(), json!(order.namespace));
    match &order.bound {
        Some(Bound::Pod(pod, node)) => {
            if let Some(node) = node {
                out.insert("node".into(), reference(node));
            }
            out.insert("pod".into(), reference(pod));
        }
        Some(Bound::Node(node)) => {
            out.insert("node".into(), reference(node));
        }
        Some(Bound::Secret(secret)) => {
            out.insert("secret".into(), reference(secret));
        }
        None => {}
    }
    out.insert("serviceaccount".into(), reference(&order.service_account));
    if let Some(warn_after) = warn_after {
        out.insert("warnafter".into(), json!(warn_after));
    }
    Value::Object(out)
}

impl Claims {
    /// `None` where a claim has the wrong type: no token of this cluster looks so.
    pub(super) fn parse(claims: Map<String, Value>, legacy: bool) -> Option<Claims> {
        let date = |key: &str| numeric_date(claims.get(key));
        let string = |key: &str| match claims.get(key) {
            None => Some(String::new()),
            Some(v) => v.as_str().map(str::to_owned),
        };
        let (expires, not_before, issued_at) = (date("exp")?, date("nbf")?, date("iat")?);
        let (issuer, subject, jti) = (string("iss")?, string("sub")?, string("jti")?);
        let audiences = audiences(claims.get("aud"))?;
        let all = Value::Object(claims);
        let scope = if legacy {
            Scope::Legacy(LegacyScope::parse(&all))
        } else {
            Scope::Bound(BoundScope::parse(&all)?)
        };
        Some(Claims { issuer, subject, audiences, jti, expires, not_before, issued_at, scope })
    }
}

/// A number of seconds, absent or given; fractions are cut off.
#[expect(clippy::option_option, reason = "absent and malformed are different answers")]
fn numeric_date(v: Option<&Value>) -> Option<Option<i64>> {
    let Some(v) = v else { return Some(None) };
    if let Some(seconds) = v.as_i64() {
        return Some(Some(seconds));
    }
    let seconds = v.as_f64()?;
    // Dates past the year 5000 are no dates, and would overflow sums.
    #[expect(clippy::cast_possible_truncation, reason = "bounded right here")]
    (seconds.abs() < 1e11).then_some(Some(seconds as i64))
}

/// One string or a list of them.
fn audiences(v: Option<&Value>) -> Option<Vec<String>> {
    match v {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::String(one)) => Some(vec![one.clone()]),
        Some(Value::Array(many)) => many.iter().map(|a| a.as_str().map(str::to_owned)).collect(),
        Some(_) => None,
    }
}

impl BoundScope {
    fn parse(claims: &Value) -> Option<BoundScope> {
        let scope = claims.get("kubernetes.io").unwrap_or(&Value::Null);
        let reference = |key: &str| {
            scope.get(key).map(|v| Ref { name: text(v, &["name"]).into(), uid: text(v, &["uid"]).into() })
        };
        Some(BoundScope {
            namespace: text(scope, &["namespace"]).to_owned(),
            service_account: reference("serviceaccount")
                .unwrap_or_else(|| Ref { name: String::new(), uid: String::new() }),
            pod: reference("pod"),
            node: reference("node"),
            secret: reference("secret"),
            warn_after: numeric_date(scope.get("warnafter"))?,
        })
    }
}

impl LegacyScope {
    fn parse(claims: &Value) -> LegacyScope {
        let claim = |key: &str| text(claims, &[&format!("kubernetes.io/serviceaccount/{key}")]).to_owned();
        LegacyScope {
            namespace: claim("namespace"),
            secret: claim("secret.name"),
            service_account: Ref { name: claim("service-account.name"), uid: claim("service-account.uid") },
        }
    }
}
