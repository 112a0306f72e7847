//! A part of the control plane that runs once in a cluster: at once where its server is alone, else while it leads.

use coracle_clock::Clock;
use kube::Client;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::election::Candidate;

/// A part that runs, or waits until it is its turn. Dropping it ends it at once.
pub(crate) struct Part {
    task: AbortOnDropHandle<()>,
    stopping: CancellationToken,
}

/// Who a server is among those that share a store.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) identity: String,
    pub(crate) clock: Clock,
}

impl Part {
    /// `run` works for as long as its future is polled. `client` speaks for the part, `lease` is its name.
    pub(crate) fn start<Run>(
        peer: Option<&Peer>,
        lease: &'static str,
        client: Client,
        run: impl Fn() -> Run + Send + 'static,
    ) -> Part
    where
        Run: Future<Output = ()> + Send,
    {
        let stopping = CancellationToken::new();
        let candidate = peer.map(|p| Candidate::new(client, p.clock.clone(), lease, p.identity.clone()));
        let stop = stopping.clone();
        let task = tokio::spawn(async move {
            match candidate {
                None => {
                    stop.run_until_cancelled(run()).await;
                }
                Some(candidate) => lead(candidate, stop, run).await,
            }
        });
        Part { task: AbortOnDropHandle::new(task), stopping }
    }

    /// Whether it still runs, or waits for its turn.
    pub(crate) fn health(&self) -> impl Fn() -> Result<(), String> + Send + Sync + 'static {
        let task = self.task.abort_handle();
        move || if task.is_finished() { Err("it has ended".to_owned()) } else { Ok(()) }
    }

    /// Stop, and let another server's take over at once.
    pub(crate) async fn stop(self) {
        self.stopping.cancel();
        // It only fails if it panicked, and then it has stopped.
        let _ = self.task.await;
    }
}

async fn lead<Run: Future<Output = ()>>(
    mut candidate: Candidate,
    stop: CancellationToken,
    run: impl Fn() -> Run,
) {
    while stop.run_until_cancelled(candidate.acquire()).await.is_some() {
        tokio::select! {
            () = run() => {}
            () = candidate.keep() => {}
            () = stop.cancelled() => {}
        }
    }
    candidate.release().await;
}
