//! Server-side apply: who applies the same again changes nothing, who forces meets no conflict, and what was applied is
//! there.

#![no_main]

use coracle_api::catalog::Catalog;
use coracle_api::codec::yaml;
use coracle_api::patch::apply::{ApplyError, apply};
use coracle_api::patch::managed::{Writer, update};
use coracle_api::schema::Schemas;
use coracle_api::{Kind, object};
use coracle_fuzz::{records, stretched};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// Steps of one story; more show nothing new and take their time.
const STEPS_MAX: usize = 6;

fuzz_target!(|data: &[u8]| {
    let data = stretched(data);
    let mut live: Option<(std::sync::Arc<Kind>, Value)> = None;
    for step in records(&data).take(STEPS_MAX) {
        // The writer and whether it forces, then what it wishes for.
        let Some((how, wishes)) = step.split_first() else { return };
        let Ok(wishes) = yaml::parse(wishes).map(|document| document.value) else { return };
        let (version, name) = (object::text(&wishes, &["apiVersion"]), object::text(&wishes, &["kind"]));
        let Some(kind) = Catalog::builtin().by_api_version(version, name) else { return };
        let old = match &live {
            Some((before, _)) if before.kind != kind.kind || before.group != kind.group => return,
            Some((_, old)) => Some(old),
            None => None,
        };
        let Some(new) = Step { kind: &kind, how: *how }.take(old, &wishes) else { return };
        live = Some((kind, new));
    }
});

struct Step<'a> {
    kind: &'a Kind,
    how: u8,
}

impl Step<'_> {
    fn manager(&self) -> &'static str {
        ["one", "two", "three"][usize::from(self.how % 3)]
    }

    fn forces(&self) -> bool {
        self.how & 0x40 != 0
    }

    fn is_update(&self) -> bool {
        self.how & 0x20 != 0
    }

    fn take(&self, old: Option<&Value>, wishes: &Value) -> Option<Value> {
        if self.is_update() {
            return self.replace(old, wishes);
        }
        match self.apply(old, wishes, "2026-01-01T00:00:00Z") {
            Ok(new) => {
                let new = self.shape(new)?;
                let again = self.apply(Some(&new), wishes, "2026-01-02T00:00:00Z").expect("it fitted before");
                let again = self.shape(again).expect("as it did before");
                assert_eq!(again, new, "applying again changes something");
                Some(new)
            }
            Err(ApplyError::Conflicts(_)) => {
                assert!(!self.forces(), "who forces has conflicts");
                old.cloned()
            }
            Err(_) => None,
        }
    }

    fn replace(&self, old: Option<&Value>, new: &Value) -> Option<Value> {
        let mut new = self.shape(new.clone())?;
        let api_version = self.kind.api_version();
        let schemas = Schemas::builtin();
        update(schemas.of(self.kind), old, &mut new, self.writer(&api_version, "2026-01-01T00:00:00Z"));
        let new = self.shape(new)?;
        let mut again = new.clone();
        update(
            schemas.of(self.kind),
            Some(&new),
            &mut again,
            self.writer(&api_version, "2026-01-02T00:00:00Z"),
        );
        assert_eq!(self.shape(again).expect("as before"), new, "an update of nothing changes something");
        Some(new)
    }

    fn apply(&self, old: Option<&Value>, wishes: &Value, now: &str) -> Result<Value, ApplyError> {
        let api_version = self.kind.api_version();
        let schemas = Schemas::builtin();
        apply(schemas.of(self.kind), old, wishes, self.writer(&api_version, now), self.forces())
    }

    fn writer<'w>(&self, api_version: &'w str, now: &'w str) -> Writer<'w> {
        Writer { manager: self.manager(), subresource: "", api_version, now, ignored: &["status"] }
    }

    fn shape(&self, object: Value) -> Option<Value> {
        Schemas::builtin().shape(self.kind, object).ok().map(|shaped| shaped.value)
    }
}
