//! `proxy`: the API on localhost, as the kubeconfig's user (in a Pod: as the Pod).

use std::net::IpAddr;

use clap::{ArgMatches, Command};
use coracle_apiproxy::{Options, Rules, bind};

use super::Cx;
use crate::Error;
use crate::args::{option, switch, text};

pub(super) fn args(command: Command) -> Command {
    command
        .arg(option("address", "The IP address on which to serve on").default_value("127.0.0.1"))
        .arg(
            option("port", "The port on which to run the proxy; 0 picks a random port")
                .short('p')
                .default_value("8001"),
        )
        .arg(option("unix-socket", "Unix socket on which to run the proxy").short('u'))
        .arg(option("api-prefix", "Prefix to serve the proxied API under").default_value("/"))
        .arg(option("www", "Also serve static files from the given directory").short('w'))
        .arg(option("www-prefix", "Prefix to serve static files under").short('P').default_value("/static/"))
        .arg(option("accept-hosts", "Regular expressions for hosts that the proxy should accept"))
        .arg(option("accept-paths", "Regular expressions for paths that the proxy should accept"))
        .arg(option("reject-paths", "Regular expressions for paths that the proxy should reject"))
        .arg(option("reject-methods", "Regular expressions for methods that the proxy should reject"))
        .arg(switch("disable-filter", "Let every request pass. This is dangerous"))
        .arg(option("keepalive", "Keep-alive period of an active connection"))
}

fn options(m: &ArgMatches) -> Result<Options, Error> {
    let default = Rules::default();
    let or = |name: &str, default: String| text(m, name).unwrap_or(default);
    let address = or("address", String::new());
    let port = or("port", String::new());
    Ok(Options {
        address: address
            .parse::<IpAddr>()
            .map_err(|_| Error::local(format!("invalid --address \"{address}\": no IP address")))?,
        port: port
            .parse()
            .map_err(|_| Error::local(format!("invalid argument \"{port}\" for \"-p, --port\" flag")))?,
        unix_socket: text(m, "unix-socket").map(Into::into),
        api_prefix: or("api-prefix", "/".to_owned()),
        www: text(m, "www").map(Into::into),
        www_prefix: or("www-prefix", "/static/".to_owned()),
        rules: Rules {
            accept_hosts: or("accept-hosts", default.accept_hosts),
            accept_paths: or("accept-paths", default.accept_paths),
            reject_paths: or("reject-paths", default.reject_paths),
            reject_methods: or("reject-methods", default.reject_methods),
        },
        disable_filter: crate::args::flag(m, "disable-filter"),
    })
}

pub(super) async fn run(cx: Cx, m: ArgMatches) -> Result<i32, Error> {
    let options = options(&m)?;
    if options.disable_filter {
        eprintln!("Request filter disabled, your proxy is vulnerable to XSRF attacks, please be cautious");
    }
    let connection = cx.connect().await?;
    let bound =
        bind(connection.client, &options, cx.clock.clone()).await.map_err(|e| Error::local(e.to_string()))?;
    println!("Starting to serve on {}", bound.address());
    bound.serve().await;
    Ok(0)
}
