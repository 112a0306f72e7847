//! The rules of the core group's kinds.

pub mod amounts;
pub mod disks;
pub mod persistent_volume_claim;
pub mod pod;
