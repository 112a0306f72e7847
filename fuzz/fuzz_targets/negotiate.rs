//! Accept headers: what is answered was asked for, in however many headers it was asked.

#![no_main]

use coracle_api::path::Query;
use coracle_apiserver::negotiate::{Syntax, lenient, resource};
use coracle_fuzz::{records, stretched};
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let data = stretched(data);
    let values = records(&data).filter_map(|value| HeaderValue::from_bytes(value).ok());
    let values: Vec<HeaderValue> = values.filter(|value| value.to_str().is_ok()).collect();
    let said: Vec<&str> = values.iter().filter_map(|value| value.to_str().ok()).collect();
    let said = said.join(",");
    let joined = HeaderValue::from_str(&said).expect("parts that are one by one");
    let apart: HeaderMap = values.into_iter().map(|value| (ACCEPT, value)).collect();
    let together = HeaderMap::from_iter([(ACCEPT, joined)]);
    let none = Query::default();
    assert_eq!(lenient(&apart, &none), lenient(&together, &none));
    for has_messages in [false, true] {
        let format = resource(&apart, &none, has_messages).ok();
        assert_eq!(format, resource(&together, &none, has_messages).ok());
        // Clauses without a media type are none, and who asks for nothing takes anything.
        let is_nothing = |clause: &str| clause.split(';').next().is_none_or(|media| media.trim().is_empty());
        let is_anything = said.split(',').all(is_nothing);
        let Some(format) = format.filter(|_| !is_anything) else { continue };
        let asked = |media: &str| said.contains(media);
        assert!(match format.syntax {
            Syntax::Json => asked("application/json") || asked("application/*") || asked("*/*"),
            Syntax::Yaml => asked("application/yaml"),
            Syntax::Protobuf => has_messages && asked("application/vnd.kubernetes.protobuf"),
        });
    }
});
