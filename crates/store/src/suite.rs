//! The acceptance tests every log must pass.
