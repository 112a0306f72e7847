//! What `kubectl explain` says: the comments of the crate `k8s-openapi`, which the build script packs, and of what it has not a
//! line in our own words.

use std::collections::HashMap;
use std::io::Read as _;

use coracle_api::openapi::{Brief, Prose};
use flate2::read::DeflateDecoder;

/// Its two fields that every kind has are said of no kind again.
const OF_EVERY_KIND: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";

/// Unpacked it takes two megabytes: it is kept for as long as a document is made.
pub(crate) struct Comments {
    /// By `definition TAB field`; of a definition itself the field is empty.
    said: HashMap<String, String>,
    brief: Brief,
}

impl Comments {
    pub(crate) fn read() -> Comments {
        let mut text = String::new();
        let packed: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/prose"));
        // What the program itself carries can be unpacked; if not, nothing is explained.
        let _ = DeflateDecoder::new(packed).read_to_string(&mut text);
        let lines = text.lines().filter_map(|line| line.rsplit_once('\t'));
        let said = lines.map(|(of, said)| (of.to_owned(), unescaped(said))).collect();
        Comments { said, brief: Brief::new() }
    }

    fn of(&self, definition: &str, field: &str) -> Option<&str> {
        self.said.get(&format!("{definition}\t{field}")).map(String::as_str)
    }
}

fn unescaped(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text.chars());
    while let Some(c) = rest.next() {
        match c {
            '\\' => out.push(if rest.next() == Some('n') { '\n' } else { '\\' }),
            c => out.push(c),
        }
    }
    out
}

impl Prose for Comments {
    fn definition(&self, name: &str) -> Option<&str> {
        self.of(name, "").or_else(|| self.brief.definition(name))
    }

    fn field(&self, definition: &str, field: &str) -> Option<&str> {
        self.of(definition, field).or_else(|| match field {
            "apiVersion" | "kind" => self.of(OF_EVERY_KIND, field),
            "metadata" if definition.ends_with("List") => {
                Some("Of which moment the list is, and how it goes on.")
            }
            "items" if definition.ends_with("List") => Some("The objects of the list."),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_the_api_says() {
        let comments = Comments::read();
        let pod = "io.k8s.api.core.v1.Pod";
        assert!(comments.definition(pod).unwrap().starts_with("Pod is a collection of containers"));
        let host_ipc = comments.field("io.k8s.api.core.v1.PodSpec", "hostIPC").unwrap();
        assert_eq!(host_ipc, "Use the host's ipc namespace. Optional: Default to false.");
        assert!(
            comments
                .field("io.k8s.api.core.v1.Container", "name")
                .unwrap()
                .starts_with("Name of the container")
        );
        assert!(comments.field("io.k8s.api.core.v1.PodCondition", "type").is_some());
        for field in ["apiVersion", "kind"] {
            assert!(comments.field(pod, field).unwrap().contains("https://"), "{field}");
        }
        assert_eq!(comments.field(pod, "none"), None);
        assert_eq!(unescaped(r"a\nb\\n"), "a\nb\\n");
    }

    /// A source that is written in another way than the build script knows would leave fields without a word.
    #[test]
    fn of_nearly_every_field_something_is_said() {
        let comments = Comments::read();
        let (mut said, mut silent) = (0, Vec::new());
        for definition in coracle_api::schema::Schemas::builtin().definitions() {
            let name = definition.full_name();
            for field in &definition.fields {
                match comments.field(&name, &field.name) {
                    Some(_) => said += 1,
                    None => silent.push(format!("{name}.{}", field.name)),
                }
            }
        }
        assert!(said > 2_400 && silent.len() * 40 < said, "{said}, none of {}: {silent:#?}", silent.len());
    }
}
