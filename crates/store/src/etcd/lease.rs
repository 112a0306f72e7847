//! Leases: what has a time to live is put under one, and etcd deletes it when it ends.
//!
//! A lease costs etcd more than a key, so objects that are written about the same time share one, as in kube-apiserver.

use std::collections::HashMap;
use std::time::Duration;

use super::Remote;
use super::client::Failure;

/// For how long objects are added to a lease, unless a twentieth of their time to live is shorter. All live that much
/// longer than asked, at most.
const SHARED: Duration = Duration::from_secs(60);
/// How many objects share a lease: etcd deletes all of a lease in one transaction.
const OBJECTS: u32 = 1000;

#[derive(Debug)]
struct Lease {
    id: i64,
    /// No more objects are added after this, by the real clock.
    until: Duration,
    room: u32,
}

/// The leases that still take objects, by the time to live in seconds.
#[derive(Debug, Default)]
pub(super) struct Leases(tokio::sync::Mutex<HashMap<u64, Lease>>);

impl Leases {
    /// A lease that ends `ttl` from now or a little later.
    pub(super) async fn get(&self, remote: &Remote, ttl: Duration) -> Result<i64, Failure> {
        let mut open = self.0.lock().await;
        let now = remote.client.clock.elapsed();
        let seconds = ttl.as_secs().max(1);
        if let Some(lease) = open.get_mut(&seconds).filter(|lease| lease.until > now && lease.room > 0) {
            lease.room -= 1;
            return Ok(lease.id);
        }
        let shared = SHARED.min(ttl / 20);
        let id = remote.client.grant((seconds + shared.as_secs()) as i64).await?.id;
        open.insert(seconds, Lease { id, until: now + shared, room: OBJECTS - 1 });
        Ok(id)
    }
}
