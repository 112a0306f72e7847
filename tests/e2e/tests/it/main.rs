//! The whole program: real kubectl, real client libraries, real containers, and the recorded contract.

mod articles;
mod bench;
mod cleanup;
mod clients;
mod contract;
mod controllers;
mod crash;
mod forks;
mod images;
mod shared;
mod sidecar;
