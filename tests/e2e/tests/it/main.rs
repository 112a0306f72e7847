//! The whole program: real kubectl, real client libraries, real containers, and the recorded contract.

mod articles;
mod bench;
mod certificates;
mod cleanup;
mod clients;
mod contract;
mod controllers;
mod crash;
mod dynamic;
mod forks;
mod helm;
mod images;
mod kubectl;
mod operators;
mod public_kinds;
mod shared;
mod sidecar;
mod webhooks;
