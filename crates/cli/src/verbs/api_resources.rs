//! `api-resources`: what the server serves.

use clap::{ArgMatches, Command};

use super::Cx;
use crate::Error;
use crate::args::{option, output, switch, text};
use crate::discovery::Discovery;
use crate::output;

pub(super) fn args(command: Command) -> Command {
    command
        .arg(option("api-group", "Only resources of this group"))
        .arg(option("namespaced", "Only namespaced resources, or only others"))
        .arg(switch("no-headers", "Leave the header line out"))
        .arg(output())
}

pub(super) async fn run(cx: Cx, m: ArgMatches) -> Result<i32, Error> {
    let connection = cx.connect().await?;
    let mut resources = Discovery::fetch(&connection.client).await?.resources;
    if let Some(group) = text(&m, "api-group") {
        resources.retain(|r| r.group == group);
    }
    if let Some(namespaced) = text(&m, "namespaced") {
        resources.retain(|r| r.namespaced.to_string() == namespaced);
    }
    resources.sort_by(|a, b| (&a.group, &a.plural).cmp(&(&b.group, &b.plural)));
    if text(&m, "output").as_deref() == Some("name") {
        for r in resources {
            println!("{}", if r.group.is_empty() { r.plural } else { format!("{}.{}", r.plural, r.group) });
        }
        return Ok(0);
    }
    let mut rows = Vec::new();
    if !crate::args::flag(&m, "no-headers") {
        rows.push(["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"].map(str::to_owned).to_vec());
    }
    rows.extend(resources.iter().map(|r| {
        vec![
            r.plural.clone(),
            r.short_names.join(","),
            r.api_version(),
            r.namespaced.to_string(),
            r.kind.clone(),
        ]
    }));
    print!("{}", output::align(&rows));
    Ok(0)
}
