//! Continue tokens: none leads out of the prefix that its list may read.

#![no_main]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coracle_apiserver::continuation;
use coracle_fuzz::{stretched, text};
use libfuzzer_sys::fuzz_target;

const PREFIX: &str = "/registry/pods/ns/";

fuzz_target!(|data: &[u8]| {
    let data = stretched(data);
    let token = match text(&data) {
        Some(token) if !token.starts_with('{') => token.to_owned(),
        _ => URL_SAFE_NO_PAD.encode(&data),
    };
    let Ok(read) = continuation::decode(&token, PREFIX) else { return };
    let rest = read.after.strip_prefix(PREFIX).expect("within the prefix");
    assert!(rest.split('/').all(|part| part != "." && part != ".."), "{rest}");
    assert_ne!(read.revision, 0);
    let again = continuation::encode(read.revision, PREFIX, &read.after);
    let again = continuation::decode(&again, PREFIX).expect("what is written can be read");
    assert_eq!((again.revision, &again.after, again.inclusive), (read.revision, &read.after, false));
});
