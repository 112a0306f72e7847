//! Until where the index must have come: to what others wrote before a read, to what we wrote before its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Ground, revision_of};
use crate::Error;

/// How long a revision may be on its way before etcd is asked for a sign: events arrive within 1 ms or 2, a sign costs
/// etcd a write.
const GRACE: Duration = Duration::from_millis(10);
/// After this a revision that etcd has said is not waited for: the watch is broken, and no member could mend it.
const WAIT: Duration = Duration::from_secs(10);

type Waiter = oneshot::Sender<Result<u64, Error>>;

/// Asks etcd for its revision on behalf of all who wait, one question at a time.
pub(super) struct Points(mpsc::UnboundedSender<Waiter>);

impl Points {
    pub(super) fn new() -> (Points, mpsc::UnboundedReceiver<Waiter>) {
        let (send, receive) = mpsc::unbounded_channel();
        (Points(send), receive)
    }

    /// etcd's revision at some moment after this call, unless all is `stopped` first.
    async fn next(&self, mut stopped: watch::Receiver<bool>) -> Result<u64, Error> {
        let (reply, answer) = oneshot::channel();
        self.0.send(reply).map_err(|_| Error::Closed)?;
        tokio::select! {
            now = answer => now.map_err(|_| Error::Closed)?,
            // The channel's end alone does not tell: what is sent while its reader goes stays in it, unread.
            _ = stopped.wait_for(|stopped| *stopped) => Err(Error::Closed),
        }
    }
}

pub(super) async fn answer(ground: Arc<Ground>, mut waiters: mpsc::UnboundedReceiver<Waiter>) {
    while let Some(first) = waiters.recv().await {
        let mut asking = vec![first];
        while let Ok(another) = waiters.try_recv() {
            asking.push(another);
        }
        let now = ground.remote.now().await;
        let now = now
            .map(|header| revision_of(Some(&header)))
            .map_err(|e| Error::Unavailable(e.to_string().into()));
        for waiter in asking {
            // A reader that has gone away no longer wants to know.
            let _ = waiter.send(now.clone());
        }
    }
}

impl Ground {
    /// Wait until the index holds whatever any server's client was told before this call.
    pub(super) async fn sync(&self) -> Result<(), Error> {
        let now = self.points.next(self.stopped.subscribe()).await?;
        self.reach(now).await
    }

    /// Wait until the index is at `revision`, which etcd has said.
    pub(super) async fn reach(&self, revision: u64) -> Result<(), Error> {
        if self.revision() >= revision || self.arrives(revision, GRACE).await {
            return Ok(());
        }
        // Others than us may write to this etcd, and of their writes the watch tells nothing. A sign of our own, which
        // it does tell, comes after them. (A request for progress would be cheaper, but etcd before 3.4.31 and 3.5.13
        // answers it ahead of the events.)
        let _one = self.signing.lock().await;
        if self.revision() >= revision {
            return Ok(());
        }
        let put = self.remote.client.put(self.remote.names.sign("seen"), Bytes::new()).await;
        let put = put.map_err(|e| Error::Unavailable(e.to_string().into()))?;
        self.told(revision_of(put.header.as_ref())).await
    }

    /// Wait until the index is at `revision`, at which something of ours has changed: the watch will tell.
    pub(super) async fn told(&self, revision: u64) -> Result<(), Error> {
        if self.revision() >= revision || self.arrives(revision, WAIT).await {
            Ok(())
        } else {
            self.closed()?;
            Err(Error::Unavailable(self.why_behind()))
        }
    }

    async fn arrives(&self, revision: u64, within: Duration) -> bool {
        let mut revisions = self.shared.revisions.subscribe();
        let mut stopped = self.stopped.subscribe();
        let reached = async {
            tokio::select! {
                reached = revisions.wait_for(|present| *present >= revision) => reached.is_ok(),
                _ = stopped.wait_for(|stopped| *stopped) => false,
            }
        };
        self.remote.client.clock.timeout(within, reached).await.unwrap_or(false)
    }

    fn why_behind(&self) -> Arc<str> {
        match self.health() {
            Err(Error::Unavailable(why)) => why,
            _ => format!("the watch has told nothing for {} s", WAIT.as_secs()).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use coracle_clock::Clock;

    use super::*;

    /// As where the question came while the one who answers was being stopped.
    #[tokio::test]
    async fn a_question_that_nobody_reads_ends_with_the_store() {
        let (points, _unread) = Points::new();
        let stop = watch::Sender::new(false);
        let asking = points.next(stop.subscribe());
        stop.send_replace(true);
        let answer = Clock::system().timeout(WAIT, asking).await;
        assert!(matches!(answer, Some(Err(Error::Closed))), "{answer:?}");
    }
}
