//! What a request to connect asks for, as the object that admission sees and may change.

use coracle_api::path::{Query, RequestInfo};
use coracle_api::{Status, Subresource};
use serde_json::{Map, Value, json};

use super::bodies;
use crate::admission::{self, Admit};
use crate::options::text;
use crate::registry::{Call, decode};
use crate::server::Core;

/// Where in a path the part begins that is handed on.
const PROXIED: usize = 3;

/// The options that the hooks of the cluster let pass, as they left them.
pub(crate) async fn admitted(
    core: &Core,
    call: &Call,
    sub: Subresource,
    info: &RequestInfo,
) -> Result<Value, Status> {
    let kind = bodies::options(call.kind.served_as(sub));
    let mut options = Value::Object(read(&call.query, sub, info)?);
    decode::set_kind(&kind, &mut options);
    admission::connect(&Admit::connect(core, call, &kind), &mut options).await?;
    Ok(options)
}

fn read(query: &Query, sub: Subresource, info: &RequestInfo) -> Result<Map<String, Value>, Status> {
    let mut out = Map::new();
    match sub {
        Subresource::PortForward => {
            let asked = query.all("ports").flat_map(|list| list.split(','));
            let ports: Vec<Value> = asked.map(port).collect::<Result<_, _>>()?;
            if !ports.is_empty() {
                out.insert("ports".into(), Value::from(ports));
            }
        }
        Subresource::Proxy => {
            let path = proxied(info);
            if !path.is_empty() {
                out.insert("path".into(), json!(path));
            }
        }
        _ => {
            for stream in ["stdin", "stdout", "stderr", "tty"] {
                if query.flag(stream) {
                    out.insert(stream.into(), json!(true));
                }
            }
            let container = text(query, "container");
            if !container.is_empty() {
                out.insert("container".into(), json!(container));
            }
            if sub == Subresource::Exec {
                out.insert("command".into(), query.all("command").collect());
            }
        }
    }
    Ok(out)
}

fn port(text: &str) -> Result<Value, Status> {
    let quoted = coracle_api::field::go_quote(text);
    let why = || Status::bad_request(format!("strconv.ParseUint: parsing {quoted}: invalid syntax"));
    text.parse::<u16>().map(Value::from).map_err(|_| why())
}

/// The path behind `proxy`, with the slashes that it has at its ends.
fn proxied(info: &RequestInfo) -> String {
    let rest = info.parts.get(PROXIED..).unwrap_or_default().join("/");
    let mut path = if rest.is_empty() { rest } else { format!("/{rest}") };
    if info.path.ends_with('/') && !path.ends_with('/') {
        path.push('/');
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(path: &str, query: &str, sub: Subresource) -> String {
        let info = RequestInfo::parse("GET", path, query).unwrap();
        match read(&info.query, sub, &info) {
            Ok(options) => Value::Object(options).to_string(),
            Err(status) => status.message,
        }
    }

    #[test]
    fn a_query_is_an_object() {
        let pod = "/api/v1/namespaces/d/pods/p";
        let exec = said(
            &format!("{pod}/exec"),
            "command=sh&command=-c&stdin=true&tty=0&container=c",
            Subresource::Exec,
        );
        assert_eq!(exec, r#"{"stdin":true,"container":"c","command":["sh","-c"]}"#);
        assert_eq!(
            said(&format!("{pod}/attach"), "stdout=1&command=x", Subresource::Attach),
            r#"{"stdout":true}"#
        );
        let forward = |query: &str| said(&format!("{pod}/portforward"), query, Subresource::PortForward);
        assert_eq!(forward("ports=80&ports=90,91"), r#"{"ports":[80,90,91]}"#);
        assert_eq!(forward(""), "{}");
        assert_eq!(forward("ports=x"), r#"strconv.ParseUint: parsing "x": invalid syntax"#);
    }

    #[test]
    fn a_proxied_path_keeps_its_slashes() {
        let proxied = |path: &str| said(&format!("/api/v1/nodes/n/proxy{path}"), "", Subresource::Proxy);
        assert_eq!(proxied(""), "{}");
        assert_eq!(proxied("/"), r#"{"path":"/"}"#);
        assert_eq!(proxied("/a/b"), r#"{"path":"/a/b"}"#);
        assert_eq!(proxied("/a/"), r#"{"path":"/a/"}"#);
    }
}
