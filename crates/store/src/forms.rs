//! Wire forms of a stored object besides its JSON: made by whoever asks first, shared from then on, within a budget.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

/// How many bytes of forms may be kept at once. What does not fit is made anew for each reader.
#[derive(Debug)]
pub struct Budget {
    left: AtomicUsize,
}

impl Budget {
    pub fn new(bytes: usize) -> Arc<Budget> {
        Arc::new(Budget { left: AtomicUsize::new(bytes) })
    }

    fn take(&self, bytes: usize) -> bool {
        let less = |left: usize| left.checked_sub(bytes);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

/// One form of one version; it goes when its version goes.
#[derive(Debug, Default)]
pub struct Form(OnceLock<Box<Kept>>);

#[derive(Debug)]
struct Kept {
    bytes: Bytes,
    budget: Arc<Budget>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.bytes.len(), Ordering::Relaxed);
    }
}

impl Form {
    /// How many bytes are kept.
    pub(crate) fn weight(&self) -> usize {
        self.0.get().map_or(0, |kept| kept.bytes.len())
    }

    pub fn get_or_make(&self, budget: &Arc<Budget>, make: impl FnOnce() -> Vec<u8>) -> Bytes {
        if let Some(kept) = self.0.get() {
            return kept.bytes.clone();
        }
        // Boxed first: a form is kept for long, and no longer grows.
        let bytes = Bytes::from(make().into_boxed_slice());
        if budget.take(bytes.len()) {
            // Who comes second gives back what it took.
            let _ = self.0.set(Box::new(Kept { bytes: bytes.clone(), budget: budget.clone() }));
        }
        bytes
    }
}

/// A copy of a version starts without forms: each is paid for once.
impl Clone for Form {
    fn clone(&self) -> Form {
        Form::default()
    }
}

/// What has been made of a version makes it no other one.
impl PartialEq for Form {
    fn eq(&self, _: &Form) -> bool {
        true
    }
}

impl Eq for Form {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_made_once_and_paid_for_until_it_goes() {
        let budget = Budget::new(10);
        let form = Form::default();
        assert_eq!(form.get_or_make(&budget, || b"seven..".to_vec()), "seven..");
        assert_eq!(form.get_or_make(&budget, || b"other".to_vec()), "seven..");
        let poor = Form::default();
        assert_eq!(poor.get_or_make(&budget, || b"four".to_vec()), "four");
        assert_eq!(poor.get_or_make(&budget, || b"anew".to_vec()), "anew");
        drop(form);
        assert_eq!(poor.get_or_make(&budget, || b"kept".to_vec()), "kept");
        assert_eq!(poor.get_or_make(&budget, || b"late".to_vec()), "kept");
    }
}
