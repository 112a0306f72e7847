//! Compaction: one of all servers on an etcd has it forget what is older than a while.
//!
//! They agree as kube-apiservers do, and with them: a key that all know counts the compactions, and who counts it on
//! first does the next one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::client::{Client, Failure};
use super::wire::{
    Compare, PutRequest, RangeRequest, Request, RequestOp, Response, TARGET_VERSION, Target, TxnRequest,
};
use super::{Ground, revision_of};

/// kube-apiserver's, and not below our prefix: compacting concerns the whole etcd, so all who do it must agree.
const KEY: &[u8] = b"compact_rev_key";

/// What this server knows of the last compaction.
#[derive(Debug, Default)]
struct Last {
    /// How often the key had been written.
    count: i64,
    /// etcd's revision then; 0 where it is not known.
    revision: u64,
}

/// Every interval, unless another was faster: forget what was the past an interval ago.
pub(super) async fn run(ground: Arc<Ground>, interval: Duration) {
    let mut last = Last::default();
    loop {
        ground.shared.clock.sleep(interval).await;
        match round(&ground.remote.client, &last).await {
            Ok(seen) => last = seen,
            Err(failure) => tracing::warn!(%failure, "etcd was not compacted; the next round may do it"),
        }
    }
}

async fn round(client: &Client, last: &Last) -> Result<Last, Failure> {
    let key = Bytes::from_static(KEY);
    let value = last.revision.to_string().into();
    let put = Request::Put(PutRequest { key: key.clone(), value, lease: 0 });
    let read = Request::Range(RangeRequest { key: key.clone(), ..RangeRequest::default() });
    let answer = client
        .txn(TxnRequest {
            compare: vec![Compare { target: TARGET_VERSION, key, union: Some(Target::Version(last.count)) }],
            success: vec![RequestOp { request: Some(put) }],
            failure: vec![RequestOp { request: Some(read) }],
        })
        .await?;
    let revision = revision_of(answer.header.as_ref());
    if !answer.succeeded {
        let count = answer.responses.iter().find_map(|op| match &op.response {
            Some(Response::Range(range)) => range.kvs.first().map(|kv| kv.version),
            _ => None,
        });
        return Ok(Last { count: count.unwrap_or(0), revision });
    }
    if last.revision > 0 {
        match client.compact(last.revision as i64).await {
            Ok(_) => tracing::info!(revision = last.revision, "etcd was compacted"),
            // Somebody went further by hand.
            Err(Failure::Refused(status)) if status.code() == tonic::Code::OutOfRange => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(Last { count: last.count + 1, revision })
}
