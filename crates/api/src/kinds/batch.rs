//! The rules of batch: Jobs and what starts them by the clock.

pub mod cron_job;
pub mod job;
pub mod schedule;
