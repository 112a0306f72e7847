//! The events of a custom resource on their way from the store to a watcher: rewritten where its row shows other bytes,
//! and ended when its row is replaced.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use coracle_api::{Kind, Status};
use coracle_store::{Error, Event, Watch};
use futures::FutureExt;
use futures::future::{self, BoxFuture};

use super::versions::Reader;
use crate::server::Core;

/// A watch goes on for so long when its row is replaced, as in the reference: what happened before is told.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The events under a prefix as a row shows them. An idle watch of a built-in kind holds no more than the store's own.
pub(crate) struct Events {
    watch: Watch,
    custom: Option<Box<Custom>>,
}

struct Custom {
    core: Arc<Core>,
    kind: Arc<Kind>,
    reader: Reader,
    rewriting: Option<BoxFuture<'static, Result<Vec<Arc<Event>>, Status>>>,
    end: BoxFuture<'static, ()>,
}

/// Why there are no more events.
pub(crate) enum Ended {
    /// The store's watch has ended, or is to end as if it had.
    Watch(Error),
    /// The next events cannot be shown.
    Untold(Status),
}

impl Events {
    pub(crate) fn new(core: &Arc<Core>, kind: &Arc<Kind>, watch: Watch) -> Result<Events, Status> {
        let Some(reader) = Reader::of(core, kind)? else { return Ok(Events { watch, custom: None }) };
        let (replaced, clock) = (reader.replaced(), core.clock.clone());
        let end = async move {
            replaced.await;
            clock.sleep(LAST_WORDS).await;
        };
        let (core, kind, end) = (core.clone(), kind.clone(), end.boxed());
        Ok(Events { watch, custom: Some(Box::new(Custom { core, kind, reader, rewriting: None, end })) })
    }

    /// As [`Watch::poll_batch`].
    pub(crate) fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<Result<Vec<Arc<Event>>, Ended>> {
        let Some(custom) = &mut self.custom else {
            return self.watch.poll_batch(cx, most).map_err(Ended::Watch);
        };
        if custom.rewriting.is_none() {
            match self.watch.poll_batch(cx, most) {
                Poll::Ready(Ok(events)) if !custom.reader.shows_all(&events) => custom.rewrite(events),
                Poll::Ready(told) => return Poll::Ready(told.map_err(Ended::Watch)),
                Poll::Pending => {
                    ready!(custom.end.poll_unpin(cx));
                    // A future that is done must not be asked again.
                    custom.end = future::pending().boxed();
                    return Poll::Ready(Err(Ended::Watch(Error::Closed)));
                }
            }
        }
        let Some(rewriting) = &mut custom.rewriting else { return Poll::Pending };
        let rewritten = ready!(rewriting.poll_unpin(cx));
        custom.rewriting = None;
        Poll::Ready(rewritten.map_err(Ended::Untold))
    }

    /// As [`Watch::progress`].
    pub(crate) fn progress(&self) -> Option<u64> {
        let is_behind = self.custom.as_ref().is_some_and(|c| c.rewriting.is_some());
        self.watch.progress().filter(|_| !is_behind)
    }
}

impl Custom {
    fn rewrite(&mut self, events: Vec<Arc<Event>>) {
        let (core, kind, reader) = (self.core.clone(), self.kind.clone(), self.reader.clone());
        self.rewriting = Some(async move { reader.events(&core, &kind, &events).await }.boxed());
    }
}
