//! `version`: who we are and whom we speak to.

use clap::{ArgMatches, Command};

use super::Cx;
use crate::Error;
use crate::args::{flag, output, switch, text};
use crate::output;
use crate::rest::Call;
use serde_json::json;

const CLIENT: &str = "v1.36.0+coracle";

pub(super) fn args(command: Command) -> Command {
    command.arg(switch("client", "The client's version only")).arg(output())
}

pub(super) async fn run(cx: Cx, m: ArgMatches) -> Result<i32, Error> {
    let mut versions = json!({"clientVersion": {"gitVersion": CLIENT, "major": "1", "minor": "36"}});
    if !flag(&m, "client") {
        let connection = cx.connect().await?;
        versions["serverVersion"] = Call::get("/version").value(&connection.client).await?;
    }
    match text(&m, "output").as_deref() {
        Some("json") => println!("{}", output::pretty(&versions)),
        Some("yaml") => print!("{}", output::yaml(&versions)?),
        _ => {
            println!("Client Version: {CLIENT}");
            if let Some(server) = versions["serverVersion"]["gitVersion"].as_str() {
                println!("Server Version: {server}");
            }
        }
    }
    Ok(0)
}
