//! `auth can-i` and `auth whoami`: what the server thinks of the caller.

use clap::{ArgMatches, Command};
use http::Method;
use serde_json::{Value, json};

use super::Cx;
use crate::Error;
use crate::args::{all_namespaces, flag, many, option, output, switch, text, words};
use crate::connect::Connection;
use crate::discovery::Discovery;
use crate::output::{self, Format};
use crate::rest::Call;

pub(super) fn args(command: Command) -> Command {
    command
        .subcommand_required(true)
        .subcommand(
            Command::new("can-i")
                .about("Check whether an action is allowed")
                .arg(words("words", "VERB TYPE, VERB TYPE/NAME or VERB NONRESOURCEURL"))
                .arg(switch("list", "Print all allowed actions"))
                .arg(switch("quiet", "Only the exit code").short('q'))
                .arg(option("subresource", "SubResource such as log or scale"))
                .arg(switch("no-headers", "Leave the header line out"))
                .arg(all_namespaces()),
        )
        .subcommand(Command::new("whoami").about("Check self subject attributes").arg(output()))
}

pub(super) async fn run(cx: Cx, m: ArgMatches) -> Result<i32, Error> {
    match m.subcommand() {
        Some(("whoami", sub)) => whoami(&cx, sub).await,
        Some((_, sub)) if flag(sub, "list") => list(&cx, sub).await,
        Some((_, sub)) => can_i(&cx, sub).await,
        None => Ok(1),
    }
}

async fn can_i(cx: &Cx, m: &ArgMatches) -> Result<i32, Error> {
    let words = many(m, "words");
    let (verb, what, name) = match words.as_slice() {
        [verb, what] => match what.split_once('/') {
            Some((kind, name)) if !what.starts_with('/') => (verb, kind.to_owned(), Some(name.to_owned())),
            _ => (verb, what.clone(), None),
        },
        [verb, what, name] => (verb, what.clone(), Some(name.clone())),
        _ => {
            return Err(Error::local(
                "you must specify two arguments: verb resource or verb resource/resourceName.\nSee 'kubectl auth can-i -h' for help and examples.",
            ));
        }
    };
    let connection = cx.connect().await?;
    let spec = if what.starts_with('/') {
        json!({"nonResourceAttributes": {"path": what, "verb": verb}})
    } else {
        json!({"resourceAttributes": attributes(&connection, m, verb, &what, name).await?})
    };
    let review =
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = Call::new(Method::POST, path).json(&review).value(&connection.client).await?;
    let status = &answer["status"];
    let allowed = status["allowed"] == true;
    if !flag(m, "quiet") {
        let mut said = if allowed { "yes" } else { "no" }.to_owned();
        if !allowed {
            for (key, label) in [("reason", " - "), ("evaluationError", " - ")] {
                if let Some(text) = status[key].as_str().filter(|t| !t.is_empty()) {
                    said.push_str(&format!("{label}{text}"));
                }
            }
        }
        println!("{said}");
    }
    Ok(i32::from(!allowed))
}

async fn attributes(
    connection: &Connection,
    m: &ArgMatches,
    verb: &str,
    what: &str,
    name: Option<String>,
) -> Result<Value, Error> {
    let discovery = Discovery::fetch(&connection.client).await?;
    let (group, resource, namespaced) = match discovery.find(what) {
        Ok(found) => (found.group.clone(), found.plural.clone(), found.namespaced),
        Err(_) if what == "*" => ("*".to_owned(), "*".to_owned(), true),
        Err(_) => {
            eprintln!("Warning: the server doesn't have a resource type '{what}'\n");
            (String::new(), what.to_owned(), true)
        }
    };
    let mut attributes = json!({"verb": verb, "group": group, "resource": resource});
    if namespaced && !flag(m, "all-namespaces") {
        attributes["namespace"] = json!(connection.namespace);
    } else if !namespaced {
        eprintln!("Warning: resource '{resource}' is not namespace scoped\n");
    }
    if let Some(name) = name {
        attributes["name"] = json!(name);
    }
    if let Some(sub) = text(m, "subresource") {
        attributes["subresource"] = json!(sub);
    }
    Ok(attributes)
}

async fn list(cx: &Cx, m: &ArgMatches) -> Result<i32, Error> {
    let connection = cx.connect().await?;
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": connection.namespace}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let answer = Call::new(Method::POST, path).json(&review).value(&connection.client).await?;
    let strings = |v: &Value| {
        v.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let bracketed = |v: &Value| format!("[{}]", strings(v).join(" "));
    let mut rows = Vec::new();
    for rule in answer["status"]["resourceRules"].as_array().into_iter().flatten() {
        for resource in strings(&rule["resources"]) {
            for group in strings(&rule["apiGroups"]) {
                let shown = if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
                rows.push(vec![
                    shown,
                    "[]".to_owned(),
                    bracketed(&rule["resourceNames"]),
                    bracketed(&rule["verbs"]),
                ]);
            }
        }
    }
    for rule in answer["status"]["nonResourceRules"].as_array().into_iter().flatten() {
        rows.push(vec![
            String::new(),
            bracketed(&rule["nonResourceURLs"]),
            "[]".to_owned(),
            bracketed(&rule["verbs"]),
        ]);
    }
    rows.sort();
    if !flag(m, "no-headers") {
        rows.insert(
            0,
            ["Resources", "Non-Resource URLs", "Resource Names", "Verbs"].map(str::to_owned).to_vec(),
        );
    }
    print!("{}", output::align(&rows));
    Ok(0)
}

async fn whoami(cx: &Cx, m: &ArgMatches) -> Result<i32, Error> {
    let connection = cx.connect().await?;
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let answer = Call::new(Method::POST, path).json(&review).value(&connection.client).await?;
    let format = Format::parse(text(m, "output").as_deref())?;
    if !format.is_table() {
        print!("{}", output::print(&format, &answer, |_| "selfsubjectreview".to_owned())?);
        return Ok(0);
    }
    let user = &answer["status"]["userInfo"];
    let list = |v: &Value| {
        let items: Vec<&str> = v.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        format!("[{}]", items.join(" "))
    };
    let mut rows = vec![vec!["ATTRIBUTE".to_owned(), "VALUE".to_owned()]];
    rows.push(vec!["Username".into(), user["username"].as_str().unwrap_or("").into()]);
    if let Some(uid) = user["uid"].as_str().filter(|u| !u.is_empty()) {
        rows.push(vec!["UID".into(), uid.into()]);
    }
    rows.push(vec!["Groups".into(), list(&user["groups"])]);
    for (key, value) in user["extra"].as_object().into_iter().flatten() {
        rows.push(vec![format!("Extra: {key}"), list(value)]);
    }
    print!("{}", output::align(&rows));
    Ok(0)
}
