//! The finalizer that keeps a storage object while something uses it: put on where it is missing, taken off at the end.

use std::fmt::Debug;

use k8s_openapi::serde::Serialize;
use kube::api::PostParams;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::work::{self, Next};
use crate::{Error, found};

/// What is to become of an object's finalizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    PutOn,
    /// Once nothing uses it.
    TakeOff,
    Nothing,
}

fn plan(is_deleted: bool, is_protected: bool) -> Step {
    match (is_deleted, is_protected) {
        (true, true) => Step::TakeOff,
        // Made before there was protection.
        (false, false) => Step::PutOn,
        _ => Step::Nothing,
    }
}

/// Look after one object. `is_used` is asked of an object on its way out, and must know everything that the API knows.
pub(crate) async fn reconcile<K, Fut>(
    api: &Api<K>,
    name: &str,
    finalizer: &str,
    is_used: impl FnOnce(K) -> Fut,
) -> Result<Next, Error>
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned,
    Fut: Future<Output = Result<bool, Error>>,
{
    let Some(mut object) = work::read(api, name).await? else { return Ok(Next::Wait) };
    let is_deleted = object.meta().deletion_timestamp.is_some();
    match plan(is_deleted, object.finalizers().iter().any(|f| f == finalizer)) {
        Step::Nothing => return Ok(Next::Wait),
        Step::TakeOff if is_used(object.clone()).await? => return Ok(Next::Wait),
        Step::TakeOff => object.finalizers_mut().retain(|f| f != finalizer),
        Step::PutOn => object.finalizers_mut().push(finalizer.to_owned()),
    }
    found(api.replace(name, &PostParams::default(), &object).await)?;
    Ok(Next::Wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_the_finalizer() {
        let cases = [
            (false, false, Step::PutOn),
            (false, true, Step::Nothing),
            (true, true, Step::TakeOff),
            (true, false, Step::Nothing),
        ];
        for (is_deleted, is_protected, want) in cases {
            assert_eq!(plan(is_deleted, is_protected), want);
        }
    }
}
