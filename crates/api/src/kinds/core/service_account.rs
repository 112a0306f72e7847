//! The rules of ServiceAccounts.

use crate::rules::{Rules, facts};

#[derive(Debug)]
pub struct ServiceAccount;

impl Rules for ServiceAccount {
    facts!(uncounted, conditional, returned);
}
