//! The machine's own firewall: where iptables refuses to forward by default, as Docker and ufw have it do, Pods'
//! traffic is let through by two rules that carry our name and leave with us.

use serde_json::{Value, json};

use super::Frame;
use super::nft;
use crate::Error;

/// The chain that iptables (on nftables), and so Docker and ufw, keeps for forwarded packets.
const TABLE: &str = "filter";
const CHAIN: &str = "FORWARD";

/// Let Pods' traffic through. Other firewalls that refuse it are somebody's will: they are named in the log.
pub(crate) async fn open(frame: &Frame) -> Result<(), Error> {
    let chains = nft::list(&["list", "chains", "ip"]).await?;
    let mut refusing = refusing(&chains);
    if let Some(at) = refusing.iter().position(|(table, chain)| (*table, *chain) == (TABLE, CHAIN)) {
        refusing.remove(at);
        if ours(&chain().await?, &frame.table).is_empty() {
            nft::apply(&passes(frame)).await?;
        }
    }
    for (table, chain) in refusing.into_iter().filter(|(table, _)| *table != frame.table) {
        tracing::warn!(table, chain, "this firewall does not forward by default: Pods may reach nothing");
    }
    Ok(())
}

/// Take our rules back out of the machine's firewall.
pub(crate) async fn close(table: &str) -> Result<(), Error> {
    let tables = nft::list(&["list", "chains", "ip"]).await?;
    if !chains(&tables).any(|c| c["table"] == TABLE && c["name"] == CHAIN) {
        return Ok(());
    }
    let handles = ours(&chain().await?, table);
    if handles.is_empty() {
        return Ok(());
    }
    let delete = handles.into_iter().map(|handle| {
        json!({"delete": {"rule": {"family": "ip", "table": TABLE, "chain": CHAIN, "handle": handle}}})
    });
    nft::apply(&json!({"nftables": delete.collect::<Vec<_>>()})).await
}

async fn chain() -> Result<Value, Error> {
    nft::list(&["-a", "list", "chain", "ip", TABLE, CHAIN]).await
}

fn passes(frame: &Frame) -> Value {
    let pass = |direction| {
        let pods =
            json!({"match": {"op": "==", "left": {"meta": {"key": direction}}, "right": frame.from_pods}});
        json!({"insert": {"rule": {
            "family": "ip", "table": TABLE, "chain": CHAIN, "comment": frame.table,
            "expr": [pods, {"accept": null}],
        }}})
    };
    json!({"nftables": [pass("iifname"), pass("oifname")]})
}

fn chains(listing: &Value) -> impl Iterator<Item = &Value> {
    listing["nftables"].as_array().into_iter().flatten().map(|item| &item["chain"]).filter(|c| c.is_object())
}

/// Table and name of the chains that drop forwarded packets by default.
fn refusing(listing: &Value) -> Vec<(&str, &str)> {
    let drops = chains(listing).filter(|chain| chain["hook"] == "forward" && chain["policy"] == "drop");
    drops.filter_map(|chain| Some((chain["table"].as_str()?, chain["name"].as_str()?))).collect()
}

/// Handles of the rules that carry our comment.
fn ours(listing: &Value, comment: &str) -> Vec<u64> {
    let rules = listing["nftables"].as_array().into_iter().flatten().map(|item| &item["rule"]);
    rules.filter(|rule| rule["comment"] == comment).filter_map(|rule| rule["handle"].as_u64()).collect()
}
