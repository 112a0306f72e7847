//! Bytes to objects and back: JSON, YAML and protobuf, in the reference's words and layout.

pub mod encode;
pub mod json;
pub mod protobuf;
pub mod yaml;

/// How much of a body an error quotes: the reference's own choice.
const QUOTED_BYTES: usize = 30;

/// The body as the reference quotes it in "the object provided is unrecognized".
pub fn summarize(data: &[u8]) -> String {
    let shown = &data[..data.len().min(QUOTED_BYTES)];
    let more = if data.len() > QUOTED_BYTES { " ..." } else { "" };
    match data.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(shown)),
        Some(_) => {
            let hex: String = shown.iter().map(|b| format!("{b:02x}")).collect();
            format!("{hex}{more}")
        }
    }
}
