//! Named formats of text: `format.dns1123Label().validate(s)`.

use super::{Result, Row, no_overload, time, url};
use crate::cel::value::Val;
use crate::names;

const MAKE: &[&str] = &["() -> kubernetes.NamedFormat"];

pub(super) const ROWS: &[Row] = &[
    ("format.named", &["(string) -> optional_type(kubernetes.NamedFormat)"], |a| match &a[0] {
        Val::String(name) => {
            let found = FORMATS.iter().find(|(known, _)| *known == &**name);
            Ok(found.map_or(Val::Optional(None), |(known, _)| Val::some(Val::Format(known))))
        }
        _ => no_overload(),
    }),
    ("format.dns1123Label", MAKE, |_| Ok(Val::Format("dns1123Label"))),
    ("format.dns1123Subdomain", MAKE, |_| Ok(Val::Format("dns1123Subdomain"))),
    ("format.dns1035Label", MAKE, |_| Ok(Val::Format("dns1035Label"))),
    ("format.qualifiedName", MAKE, |_| Ok(Val::Format("qualifiedName"))),
    ("format.dns1123LabelPrefix", MAKE, |_| Ok(Val::Format("dns1123LabelPrefix"))),
    ("format.dns1123SubdomainPrefix", MAKE, |_| Ok(Val::Format("dns1123SubdomainPrefix"))),
    ("format.dns1035LabelPrefix", MAKE, |_| Ok(Val::Format("dns1035LabelPrefix"))),
    ("format.labelValue", MAKE, |_| Ok(Val::Format("labelValue"))),
    ("format.uri", MAKE, |_| Ok(Val::Format("uri"))),
    ("format.uuid", MAKE, |_| Ok(Val::Format("uuid"))),
    ("format.byte", MAKE, |_| Ok(Val::Format("byte"))),
    ("format.date", MAKE, |_| Ok(Val::Format("date"))),
    ("format.datetime", MAKE, |_| Ok(Val::Format("datetime"))),
    ("validate", &["kubernetes.NamedFormat.(string) -> optional_type(list(string))"], validate),
];

type Check = fn(&str) -> Vec<String>;

const FORMATS: [(&str, Check); 13] = [
    ("dns1123Label", |s| names::dns_label(s, false)),
    ("dns1123Subdomain", |s| names::dns_subdomain(s, false)),
    ("dns1035Label", names::dns1035_label),
    ("qualifiedName", names::qualified),
    ("dns1123LabelPrefix", |s| names::dns_label(s, true)),
    ("dns1123SubdomainPrefix", |s| names::dns_subdomain(s, true)),
    ("dns1035LabelPrefix", |s| {
        let masked = s.strip_suffix('-').filter(|head| !head.is_empty());
        names::dns1035_label(masked.unwrap_or(s))
    }),
    ("labelValue", names::label_value),
    ("uri", |s| unless(url::Url::parse(s).is_ok(), "invalid URI for request")),
    ("uuid", |s| unless(is_uuid(s), "does not match the UUID format")),
    ("byte", |s| {
        use base64::Engine as _;
        unless(base64::engine::general_purpose::STANDARD.decode(s).is_ok(), "invalid base64")
    }),
    ("date", |s| unless(s.parse::<jiff::civil::Date>().is_ok() && s.len() == 10, "invalid date")),
    ("datetime", |s| unless(time::read_timestamp(s).is_some(), "invalid datetime")),
];

fn unless(good: bool, words: &str) -> Vec<String> {
    if good { Vec::new() } else { vec![words.to_owned()] }
}

fn is_uuid(s: &str) -> bool {
    let parts: Vec<_> = s.split('-').collect();
    let lengths: Vec<_> = parts.iter().map(|p| p.len()).collect();
    lengths == [8, 4, 4, 4, 12] && parts.iter().all(|p| p.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn validate(args: Vec<Val<'_>>) -> Result<'_> {
    let [Val::Format(name), Val::String(text)] = &args[..] else { return no_overload() };
    let said = FORMATS.iter().find(|(known, _)| known == name).map_or(Vec::new(), |(_, check)| check(text));
    if said.is_empty() {
        return Ok(Val::Optional(None));
    }
    Ok(Val::some(Val::list(said.into_iter().map(Val::text).collect())))
}
