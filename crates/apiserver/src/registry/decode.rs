//! From a request's body to an object of the kind that the path names.

use coracle_api::codec::{self, json, protobuf};
use coracle_api::field::{Errors, Path, go_quote};
use coracle_api::schema::Schemas;
use coracle_api::{Kind, Status, catalog, object};
use serde_json::Value;

use super::Call;
use crate::options::FieldValidation;
use crate::server::Core;

/// A parsed body, and what a strict reader has against it.
pub(crate) struct Parsed {
    pub value: Value,
    pub complaints: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Media {
    Json,
    Yaml,
    Protobuf,
}

fn media(content_type: &str) -> Result<Media, Status> {
    match content_type.split(';').next().unwrap_or_default().trim() {
        "" | "application/json" => Ok(Media::Json),
        "application/yaml" => Ok(Media::Yaml),
        protobuf::MEDIA_TYPE => Ok(Media::Protobuf),
        _ => Err(Status::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: application/json, \
             application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}

/// The body as JSON; `kind` is for the words of a refusal.
pub(crate) fn parse(content_type: &str, body: &[u8], kind: &str) -> Result<Parsed, Status> {
    let refuse = |what: &str, e: String| {
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; {what} parse \
             error: {e} ({})",
            codec::summarize(body)
        ))
    };
    match media(content_type)? {
        Media::Json => {
            let parsed = json::parse(body).map_err(|e| refuse("json", e.to_string()))?;
            Ok(Parsed { complaints: parsed.strict_errors().collect(), value: parsed.value })
        }
        Media::Protobuf => {
            // Only built-in kinds have messages, so that the built-in schemas know every body there is.
            let decoded = protobuf::decode(&Schemas::builtin(), body, "");
            let value = decoded.map_err(|e| refuse("protobuf", e.to_string()))?;
            Ok(Parsed { complaints: Vec::new(), value })
        }
        Media::Yaml => {
            let parsed = codec::yaml::parse(body).map_err(|e| refuse("yaml", e.to_string()))?;
            Ok(Parsed { complaints: parsed.strict_errors, value: parsed.value })
        }
    }
}

/// The body as an object of `kind`, typed, pruned, defaulted and in order.
pub(crate) fn object(
    core: &Core,
    call: &Call,
    kind: &Kind,
    body: &[u8],
    validation: FieldValidation,
) -> Result<Value, Status> {
    let parsed = parse(&call.content_type, body, &kind.kind)?;
    let mut value = parsed.value;
    if kind.is_custom() {
        check_custom(kind, &value, body)?
    } else {
        check_kind(core, kind, &value)?
    }
    set_kind(kind, &mut value);
    let cannot = |why: &str| {
        let version = go_quote(&kind.version);
        Status::bad_request(format!(
            "{} in version {version} cannot be handled as a {}: {why}",
            kind.kind, kind.kind
        ))
    };
    let (value, unknown) = shape(core, kind, value).map_err(|why| cannot(&why))?;
    let complaints: Vec<String> = unknown.into_iter().chain(parsed.complaints).collect();
    if !complaints.is_empty() {
        match validation {
            FieldValidation::Ignore => {}
            FieldValidation::Warn => complaints.iter().for_each(|c| call.warn(c.as_str())),
            FieldValidation::Strict => {
                return Err(cannot(&format!("strict decoding error: {}", complaints.join(", "))));
            }
        }
    }
    Ok(defaulted(core, kind, value))
}

/// Types checked, unknown fields dropped and named, keys in order.
pub(crate) fn shape(core: &Core, kind: &Kind, value: Value) -> Result<(Value, Vec<String>), String> {
    let shaped = core.schemas.shape(kind, value).map_err(|e| e.to_string())?;
    let unknown = shaped.unknown.iter().map(|path| format!("unknown field {}", go_quote(path))).collect();
    Ok((shaped.value, unknown))
}

/// A shaped object with everything filled in that its user left out.
pub(crate) fn defaulted(_: &Core, kind: &Kind, mut value: Value) -> Value {
    kind.rules.default(&mut value);
    value
}

/// Kind and version first, as every object starts.
pub(crate) fn set_kind(kind: &Kind, value: &mut Value) {
    let map = object::map_mut(value);
    let api_version = kind.api_version();
    let mut first = map.iter();
    let says = |member: Option<(&String, &Value)>, key: &str, text: &str| {
        member.is_some_and(|(name, value)| name == key && value == text)
    };
    // What comes from here or from Go starts so, and moving what follows would cost more than all else here.
    if says(first.next(), "kind", &kind.kind) && says(first.next(), "apiVersion", &api_version) {
        return;
    }
    map.shift_remove("kind");
    map.shift_remove("apiVersion");
    map.shift_insert(0, "kind".into(), Value::from(&*kind.kind));
    map.shift_insert(1, "apiVersion".into(), Value::from(api_version));
}

/// A body that says what it is must be what the path says.
fn check_kind(core: &Core, kind: &Kind, value: &Value) -> Result<(), Status> {
    let said = object::text(value, &["kind"]);
    let version = object::text(value, &["apiVersion"]);
    if (said.is_empty() || said == kind.kind) && (version.is_empty() || version == kind.api_version()) {
        return Ok(());
    }
    let said = if said.is_empty() { &*kind.kind } else { said };
    let version = if version.is_empty() { kind.api_version() } else { version.to_owned() };
    let why = match core.catalog().by_api_version(&version, said) {
        Some(_) => {
            let (group, v) = catalog::split_api_version(&version);
            let package = |g: &str| if g.is_empty() { "core".to_owned() } else { first_label(g) };
            let from = if group.is_empty() { v.to_owned() } else { format!("{}/{v}", first_label(group)) };
            format!(
                "converting ({from}.{said}) to ({}.{}): unknown conversion",
                package(&kind.group),
                kind.kind
            )
        }
        None => format!(
            "no kind {} is registered for version {} in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
            go_quote(said),
            go_quote(&version)
        ),
    };
    Err(Status::bad_request(format!(
        "{said} in version {} cannot be handled as a {}: {why}",
        go_quote(catalog::split_api_version(&version).1),
        kind.kind
    )))
}

/// A custom resource must say all of what it is.
fn check_custom(kind: &Kind, value: &Value, body: &[u8]) -> Result<(), Status> {
    let (said, version) = (object::text(value, &["kind"]), object::text(value, &["apiVersion"]));
    if said.is_empty() {
        return Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): Object 'Kind' is missing in '{}' ({})",
            kind.kind,
            String::from_utf8_lossy(body),
            codec::summarize(body)
        )));
    }
    if version != kind.api_version() {
        return Err(Status::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({})",
            kind.api_version()
        )));
    }
    let mut errs = Errors::default();
    if said != kind.kind {
        errs.invalid(&Path::new("kind"), &Value::from(said), format!("must be {}", kind.kind));
        return Err(Status::invalid(&kind.group, &kind.kind, object::name(value), &errs));
    }
    Ok(())
}

/// The Go package of a group: what comes before the first dot.
fn first_label(group: &str) -> String {
    group.split('.').next().unwrap_or_default().to_owned()
}
