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
    definitions: HashMap<String, Definition>,
    brief: Brief,
}

#[derive(Default)]
struct Definition {
    said: String,
    fields: HashMap<String, String>,
}

impl Comments {
    pub(crate) fn read() -> Comments {
        let mut text = String::new();
        let packed: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/prose"));
        let mut definitions = HashMap::new();
        // What the program itself carries can be unpacked; if not, nothing is explained.
        if DeflateDecoder::new(packed).read_to_string(&mut text).is_ok() {
            read_lines(&text, &mut definitions);
        }
        Comments { definitions, brief: Brief::new() }
    }
}

/// `name TAB text` for a definition, then its fields, each after a TAB.
fn read_lines(text: &str, definitions: &mut HashMap<String, Definition>) {
    let mut last = Definition::default();
    let mut name = "";
    for line in text.lines() {
        let (is_field, line) = line.strip_prefix('\t').map_or((false, line), |field| (true, field));
        let Some((key, said)) = line.split_once('\t') else { continue };
        if is_field {
            last.fields.insert(key.to_owned(), unescaped(said));
            continue;
        }
        definitions.insert(name.to_owned(), std::mem::take(&mut last));
        (name, last.said) = (key, unescaped(said));
    }
    definitions.insert(name.to_owned(), last);
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
        let said = self.definitions.get(name).map(|definition| definition.said.as_str());
        said.filter(|said| !said.is_empty()).or_else(|| self.brief.definition(name))
    }

    fn field(&self, definition: &str, field: &str) -> Option<&str> {
        let of = |definition: &str| self.definitions.get(definition)?.fields.get(field).map(String::as_str);
        let said = of(definition).filter(|said| !said.is_empty());
        said.or_else(|| match field {
            "apiVersion" | "kind" => of(OF_EVERY_KIND),
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
