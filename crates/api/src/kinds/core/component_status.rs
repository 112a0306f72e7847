//! The rules of ComponentStatuses, which are only read.

use crate::rules::Rules;

#[derive(Debug)]
pub struct ComponentStatus;

impl Rules for ComponentStatus {
    fn deprecation(&self) -> Option<&str> {
        Some("v1 ComponentStatus is deprecated in v1.19+")
    }
}
