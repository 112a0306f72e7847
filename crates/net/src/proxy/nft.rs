//! Handing rulesets to the kernel through the `nft` program.

use nftables::helper::{
    DEFAULT_ARGS, DEFAULT_NFT, NftablesError, apply_ruleset_raw, get_current_ruleset_raw,
};
use serde_json::Value;

use super::ruleset::removal;
use crate::Error;

/// Apply a transaction: all of it or nothing.
pub(crate) async fn apply(ruleset: &Value) -> Result<(), Error> {
    let payload = ruleset.to_string();
    let applied = tokio::task::spawn_blocking(move || {
        apply_ruleset_raw(&payload, DEFAULT_NFT, DEFAULT_ARGS.iter()).map_err(explain)
    });
    applied.await.unwrap_or_else(|_| Err(Error::Rules("nft was interrupted".to_owned()))).map(drop)
}

/// What a listing command of `nft` says.
pub(crate) async fn list(command: &'static [&'static str]) -> Result<Value, Error> {
    let listed = tokio::task::spawn_blocking(move || {
        let text = get_current_ruleset_raw(DEFAULT_NFT, command.iter()).map_err(explain)?;
        serde_json::from_str(&text).map_err(|error| Error::Rules(error.to_string()))
    });
    listed.await.unwrap_or_else(|_| Err(Error::Rules("nft was interrupted".to_owned())))
}

pub(crate) async fn remove(table: &str) -> Result<(), Error> {
    apply(&removal(table)).await
}

fn explain(error: NftablesError) -> Error {
    Error::Rules(match error {
        NftablesError::NftExecution { inner, .. } if inner.kind() == std::io::ErrorKind::NotFound => {
            "the program nft is not installed".to_owned()
        }
        NftablesError::NftFailed { stderr, .. } => stderr.lines().take(3).collect::<Vec<_>>().join("; "),
        other => other.to_string(),
    })
}
