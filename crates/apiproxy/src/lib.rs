//! apiproxy
