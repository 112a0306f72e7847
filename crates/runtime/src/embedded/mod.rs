//! The embedded runtime: images, sandboxes and containers without a daemon of somebody else.

mod images;
