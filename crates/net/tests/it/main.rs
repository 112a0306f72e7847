//! The network on a kernel. Every test has a network namespace of its own and needs root; without it they say so and
//! pass.

#![expect(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

mod netns;
mod pods;
