//! The paths that are no resources: discovery, health, version, metrics, OpenAPI and the issuer's documents.

use std::sync::Arc;

use coracle_api::codec::protobuf;
use coracle_api::path::RequestInfo;
use coracle_api::{Status, discovery};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method};
use serde_json::{Value, json};

use crate::negotiate::{self, Format};
use crate::respond::{self, Answer};
use crate::server::Core;
use crate::{api_services, health, metrics, openapi};

/// What is served besides the groups, for the list at `/`.
const PATHS: [&str; 11] = [
    "/.well-known/openid-configuration",
    "/healthz",
    "/livez",
    "/livez/ping",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    "/openid/v1/jwks",
    "/readyz",
    "/readyz/ping",
    "/version",
];

pub(crate) const VERSION: &str = "v1.36.0+coracle";
/// The reference lets clients keep the issuer's documents for an hour.
const ISSUER_CACHE: HeaderValue = HeaderValue::from_static("public, max-age=3600");

pub(crate) async fn answer(core: &Arc<Core>, request: &Parts, info: &RequestInfo) -> Result<Answer, Status> {
    let format = negotiate::lenient(&request.headers, &info.query);
    let path = info.path.trim_end_matches('/');
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return Err(Status::method_not_allowed());
    }
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match parts.as_slice() {
        [] => Ok(respond::value(200, &index(core), format)),
        ["healthz" | "livez" | "readyz", ..] => Ok(health::answer(core, &parts, &info.query)),
        ["version"] => Ok(respond::value(200, &version(), format)),
        ["metrics"] => {
            Ok(respond::whole(200, "text/plain; version=0.0.4; charset=utf-8", metrics::text(core)))
        }
        ["openapi", rest @ ..] => openapi::answer(core, request, rest).await,
        [".well-known", "openid-configuration"] => Ok(issuer(core, format)),
        ["openid", "v1", "jwks"] => key_set(core, request).await,
        ["api"] | ["apis"] | ["api", _] | ["apis", ..] => discover(core, request, &parts, format),
        _ => Ok(respond::page_not_found()),
    }
}

fn index(core: &Core) -> Value {
    let mut paths: Vec<String> = PATHS.iter().map(|p| (*p).to_owned()).collect();
    paths.extend(["/api".to_owned(), "/apis".to_owned()]);
    for group in core.catalog().groups() {
        if group.name.is_empty() {
            paths.extend(group.versions.iter().map(|v| format!("/api/{v}")));
            continue;
        }
        paths.push(format!("/apis/{}", group.name));
        paths.extend(group.versions.iter().map(|v| format!("/apis/{}/{v}", group.name)));
    }
    paths.sort();
    json!({"paths": paths})
}

fn version() -> Value {
    json!({
        "major": "1",
        "minor": "36",
        "emulationMajor": "1",
        "emulationMinor": "36",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": VERSION,
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("linux/{}", if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }),
    })
}

fn issuer(core: &Core, format: Format) -> Answer {
    let (address, port) = core.advertise.unwrap_or((core.addresses.first(), 443));
    let document = json!({
        "issuer": core.tokens.issuer(),
        "jwks_uri": format!("https://{address}:{port}/openid/v1/jwks"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    });
    let mut answer = respond::value(200, &document, format);
    answer.headers_mut().insert(CACHE_CONTROL, ISSUER_CACHE);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

async fn key_set(core: &Core, request: &Parts) -> Result<Answer, Status> {
    const MEDIA: &str = "application/jwk-set+json";
    let takes = |media: &str| matches!(media, "*/*" | "application/*" | MEDIA);
    if !negotiate::clauses(&request.headers).iter().any(|c| takes(c.media)) {
        let words = format!("406: Not Acceptable\n\nAvailable representations: {MEDIA}");
        return Err(Status::not_acceptable(words).with_details(Default::default()));
    }
    let mut answer = respond::whole(200, MEDIA, core.tokens.jwks().await?.to_string());
    answer.headers_mut().insert(CACHE_CONTROL, ISSUER_CACHE);
    Ok(answer)
}

fn discover(core: &Core, request: &Parts, parts: &[&str], format: Format) -> Result<Answer, Status> {
    let catalog = core.catalog();
    let document = match parts {
        ["api"] | ["apis"] => {
            if let Some(version) = aggregated(request) {
                return Ok(aggregate(core, parts[0], version, format));
            }
            match parts[0] {
                "api" => discovery::api_versions(&catalog, &server_address(core)),
                _ => discovery::api_group_list(&catalog),
            }
        }
        ["apis", group] => match discovery::api_group(&catalog, group) {
            Some(document) => document,
            None => return Ok(respond::page_not_found()),
        },
        ["api", version] => resources(&catalog, "", version)?,
        ["apis", group, version]
            if !catalog.has_version(group, version) && api_services::is_elsewhere(core, group, version) =>
        {
            return Ok(respond::text(503, "service unavailable\n"));
        }
        ["apis", group, version] => {
            if catalog.group(group).is_none() {
                return Ok(respond::page_not_found());
            }
            resources(&catalog, group, version)?
        }
        _ => return Ok(respond::page_not_found()),
    };
    Ok(respond::value(200, &document, format))
}

fn resources(catalog: &coracle_api::catalog::Catalog, group: &str, version: &str) -> Result<Value, Status> {
    discovery::api_resource_list(catalog, group, version).ok_or_else(Status::no_resource)
}

fn server_address(core: &Core) -> String {
    let (address, port) = core.advertise.unwrap_or((core.addresses.first(), 443));
    format!("{address}:{port}")
}

/// The version of aggregated discovery that the client prefers to the old documents, if any.
fn aggregated(request: &Parts) -> Option<&'static str> {
    for clause in negotiate::clauses(&request.headers) {
        let whole = clause.param("as").is_none();
        match (clause.media, clause.param("as"), clause.param("g"), clause.param("v")) {
            ("application/json", Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2")) => {
                return Some("v2");
            }
            (
                "application/json",
                Some("APIGroupDiscoveryList"),
                Some("apidiscovery.k8s.io"),
                Some("v2beta1"),
            ) => {
                return Some("v2beta1");
            }
            ("application/json" | "application/yaml" | protobuf::MEDIA_TYPE | "*/*", ..) if whole => {
                return None;
            }
            _ => {}
        }
    }
    None
}

fn aggregate(core: &Core, prefix: &str, version: &'static str, format: Format) -> Answer {
    let catalog = core.catalog();
    let mut document = match prefix {
        "api" => discovery::aggregated_core(&catalog),
        _ => discovery::aggregated_groups(&catalog),
    };
    document["apiVersion"] = json!(format!("apidiscovery.k8s.io/{version}"));
    let mut answer = respond::value(200, &document, format);
    let media = match version {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    answer
}
