//! What the client wants to read: JSON, YAML or protobuf, plain or indented, whole objects, metadata or a table.

use coracle_api::Status;
use coracle_api::codec::protobuf;
use http::HeaderMap;
use http::header::{ACCEPT, USER_AGENT};

use coracle_api::path::Query;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Syntax {
    #[default]
    Json,
    Yaml,
    Protobuf,
}

/// What is made of an object before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    #[default]
    Whole,
    /// `as=Table`, with the version of `meta.k8s.io` that was asked for.
    Table(MetaVersion),
    /// `as=PartialObjectMetadata` or its list.
    Metadata(MetaVersion),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaVersion {
    V1,
    V1Beta1,
}

impl MetaVersion {
    pub fn api_version(self) -> &'static str {
        match self {
            MetaVersion::V1 => "meta.k8s.io/v1",
            MetaVersion::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Format {
    pub syntax: Syntax,
    pub pretty: bool,
    pub shape: Shape,
}

impl Format {
    pub fn content_type(self) -> &'static str {
        match self.syntax {
            Syntax::Json => "application/json",
            Syntax::Yaml => "application/yaml",
            Syntax::Protobuf => protobuf::MEDIA_TYPE,
        }
    }
}

/// One clause of an Accept header.
#[derive(Debug)]
pub struct Clause<'a> {
    pub media: &'a str,
    pub params: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl Clause<'_> {
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(k, _)| *k == name).map(|(_, v)| *v)
    }
}

/// The clauses of every Accept header, best first; an absent or empty header accepts anything.
pub fn clauses(headers: &HeaderMap) -> Vec<Clause<'_>> {
    let mut out: Vec<Clause<'_>> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .filter_map(clause)
        .collect();
    if out.is_empty() {
        out.push(Clause { media: "*/*", params: Vec::new(), quality: 1.0 });
    }
    // Stable, so that clauses of one quality keep the client's order.
    out.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    out
}

fn clause(text: &str) -> Option<Clause<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().filter(|m| !m.is_empty())?;
    let params: Vec<_> = parts.filter_map(|p| p.split_once('=')).map(|(k, v)| (k.trim(), v.trim())).collect();
    let q = params.iter().find(|(k, _)| *k == "q").and_then(|(_, v)| v.parse().ok());
    Some(Clause { media, params, quality: q.unwrap_or(1.0) })
}

/// The format of an answer that is an object or a list of them. Only kinds of Go structs have protobuf messages.
pub fn resource(headers: &HeaderMap, q: &Query, has_messages: bool) -> Result<Format, Status> {
    let clauses = clauses(headers);
    if !clauses.iter().any(|c| syntax(c.media).is_some()) {
        return Err(Status::not_acceptable(
            "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, \
             application/vnd.kubernetes.protobuf, application/json;stream=watch, \
             application/vnd.kubernetes.protobuf;stream=watch",
        )
        .with_details(Default::default()));
    }
    let found = clauses.iter().find_map(|c| served(c, has_messages));
    let Some((syntax, shape)) = found else {
        let protobuf = if has_messages { ", application/vnd.kubernetes.protobuf" } else { "" };
        return Err(Status::not_acceptable(format!(
            "only the following media types are accepted: application/json, application/yaml{protobuf}"
        )));
    };
    Ok(Format { syntax, pretty: wants_pretty(headers, q), shape })
}

/// What a clause asks for, where that can be made.
fn served(c: &Clause<'_>, has_messages: bool) -> Option<(Syntax, Shape)> {
    let (syntax, shape) = (syntax(c.media)?, shape(c)?);
    let is_known_stream = c.param("stream").is_none_or(|s| s.is_empty() || s == "watch");
    let is_made = match (syntax, shape) {
        // A Table has no message.
        (Syntax::Protobuf, Shape::Table(_)) => false,
        (Syntax::Protobuf, _) => has_messages,
        _ => true,
    };
    (is_known_stream && is_made).then_some((syntax, shape))
}

/// The format of an error or a plain document, where nothing is worth a refusal.
pub fn lenient(headers: &HeaderMap, q: &Query) -> Format {
    let syntax = clauses(headers).iter().find_map(|c| syntax(c.media)).unwrap_or_default();
    Format { syntax, pretty: wants_pretty(headers, q), shape: Shape::Whole }
}

fn syntax(media: &str) -> Option<Syntax> {
    match media {
        "application/json" | "*/*" | "application/*" => Some(Syntax::Json),
        "application/yaml" => Some(Syntax::Yaml),
        protobuf::MEDIA_TYPE => Some(Syntax::Protobuf),
        _ => None,
    }
}

fn shape(c: &Clause<'_>) -> Option<Shape> {
    let Some(kind) = c.param("as") else { return Some(Shape::Whole) };
    if c.param("g") != Some("meta.k8s.io") {
        return None;
    }
    let version = match c.param("v") {
        Some("v1") => MetaVersion::V1,
        Some("v1beta1") => MetaVersion::V1Beta1,
        _ => return None,
    };
    match kind {
        "Table" => Some(Shape::Table(version)),
        "PartialObjectMetadata" | "PartialObjectMetadataList" => Some(Shape::Metadata(version)),
        _ => None,
    }
}

/// People who type at a terminal or a browser get indented answers, as from the reference.
pub fn wants_pretty(headers: &HeaderMap, q: &Query) -> bool {
    if q.get("pretty").is_some() {
        return q.flag("pretty");
    }
    let agent = headers.get(USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or("");
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|p| agent.starts_with(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &str) -> Result<Format, Status> {
        let mut h = HeaderMap::new();
        h.insert(ACCEPT, value.parse().unwrap());
        resource(&h, &Query::default(), true)
    }

    #[test]
    fn picks_the_first_clause_that_it_can_serve() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(accept(table).unwrap().shape, Shape::Table(MetaVersion::V1));
        let syntax = |value: &str| accept(value).unwrap().syntax;
        assert_eq!(syntax("application/yaml;q=0.5, application/vnd.kubernetes.protobuf"), Syntax::Protobuf);
        assert_eq!(syntax("application/vnd.kubernetes.protobuf;stream=watch"), Syntax::Protobuf);
        assert_eq!(syntax("application/vnd.kubernetes.protobuf;stream=x, application/json"), Syntax::Json);
        let table = "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io";
        assert!(accept(table).unwrap_err().message.starts_with("only the"));
        assert_eq!(accept(&format!("{table},application/json")).unwrap().shape, Shape::Whole);
        let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
        assert_eq!(accept(metadata).unwrap().shape, Shape::Metadata(MetaVersion::V1));
        assert_eq!(
            accept("application/json;as=Frob;v=v1;g=meta.k8s.io, application/json").unwrap().shape,
            Shape::Whole
        );
        assert!(accept("text/html").unwrap_err().message.starts_with("406: Not Acceptable"));
        assert!(
            accept("application/json;as=Frob;v=v1;g=meta.k8s.io")
                .unwrap_err()
                .message
                .starts_with("only the")
        );
    }
}
