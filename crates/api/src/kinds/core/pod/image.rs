//! The parts of an image's name, as far as defaults depend on them.

/// Whether an image without a pull policy is always pulled: its tag is `latest`, or it has neither tag nor digest.
pub fn wants_latest(image: &str) -> bool {
    let (name, digest) = image.split_once('@').map_or((image, ""), |(n, d)| (n, d));
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => digest.is_empty() && !name.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn latest_is_what_has_no_other_tag() {
        let wanted: Vec<_> =
            ["a", "a:latest", "h:5000/a", "a:1", "h:5000/a:1", "a@sha256:00", "a:latest@sha256:00", ""]
                .into_iter()
                .filter(|i| super::wants_latest(i))
                .collect();
        assert_eq!(wanted, ["a", "a:latest", "h:5000/a", "a:latest@sha256:00"]);
    }
}
