//! Schemas of custom resources: whatever is taken as one shapes, defaults, checks and applies objects as a built-in one
//! does.

#![no_main]

use coracle_api::catalog::Catalog;
use coracle_api::custom;
use coracle_api::patch::apply::apply;
use coracle_api::patch::managed::Writer;
use coracle_api::schema::Schemas;
use coracle_api::{Kind, object};
use coracle_fuzz::{life, parts, stretched};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    let data = stretched(data);
    // A version of a definition, and two objects.
    let [version, first, second] = parts(&data).map(coracle_fuzz::object);
    let Some(kind) = version.and_then(row) else { return };
    let uses_old_self = kind.custom.as_ref().is_some_and(|c| c.published.to_string().contains("oldSelf"));
    for mut object in [first, second].into_iter().flatten() {
        object["apiVersion"] = json!("g.io/v1");
        object["kind"] = json!("Thing");
        applies_once(&kind, &object);
        let Some(born) = life::born(&kind, object) else { continue };
        // Rules on transitions may forbid to stay.
        if life::complaints(&kind, &born).is_empty() && !uses_old_self {
            life::replaces_itself(&kind, &born);
        }
    }
});

/// The row that a version of a definition makes, if the definition is taken.
fn row(mut version: Value) -> Option<Kind> {
    version["name"] = json!("v1");
    version["served"] = json!(true);
    version["storage"] = json!(true);
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "things.g.io"},
        "spec": {"group": "g.io", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"}, "versions": [version]},
    });
    let (api_version, name) =
        (object::text(&definition, &["apiVersion"]), object::text(&definition, &["kind"]));
    let kind = Catalog::builtin().by_api_version(api_version, name)?;
    let mut born = life::born(&kind, definition)?;
    if !life::complaints(&kind, &born).is_empty() {
        return None;
    }
    life::replaces_itself(&kind, &born);
    let names = born["spec"]["names"].clone();
    object::map_at_mut(&mut born, &["status"]).insert("acceptedNames".to_owned(), names);
    let rows = custom::rows(&born).expect("what is valid makes rows");
    rows.into_iter().next()
}

fn applies_once(kind: &Kind, wishes: &Value) {
    let schemas = Schemas::builtin();
    let apply = |live: Option<&Value>, now: &str| {
        let by = Writer { manager: "one", subresource: "", api_version: "g.io/v1", now, ignored: &[] };
        let new = apply(schemas.of(kind), live, wishes, by, false).ok()?;
        schemas.shape(kind, new).ok().map(|shaped| shaped.value)
    };
    let Some(once) = apply(None, "2026-01-01T00:00:00Z") else { return };
    assert_eq!(
        apply(Some(&once), "2026-01-02T00:00:00Z").as_ref(),
        Some(&once),
        "applying again changes something"
    );
}
