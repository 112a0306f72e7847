//! get: one object, from the bytes that are stored.

use coracle_api::Status;

use super::{Call, Outcome, versions};
use crate::options::text;
use crate::respond::Answer;
use crate::server::Core;

pub(crate) async fn run(core: &Core, call: &Call) -> Result<Answer, Status> {
    let asked = versions::parse(text(&call.query, "resourceVersion")).map_err(Status::internal)?;
    let wanted = asked.map_or(versions::Wanted::Newest, versions::Wanted::NotOlderThan);
    let state = versions::snapshot(core, wanted).await?;
    let found = state.get(&call.key()).ok_or_else(|| call.not_found())?;
    super::answer::object(core, call, 200, Outcome::Stored(found)).await
}
