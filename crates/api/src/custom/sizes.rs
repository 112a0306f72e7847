//! How large the values of a schema may be: what rules may cost follows from it, and how often they may be run.

use crate::cel::declare::escape;
use crate::schema::structural::prune::META_FIELDS;
use crate::schema::{JsonType, Structural};

/// The largest request there may be, in bytes; whatever a schema does not bound, this does.
const REQUEST_MAX: i64 = 3 * 1024 * 1024;
/// The quotation marks around a text, and the brackets around a list or an object.
const MARKS: i64 = 2;
/// The least and the most that a length of time or a date takes, with its quotation marks.
const DURATION_MIN: i64 = 3;
const DURATION_MAX: i64 = 32;
const DATE: i64 = 12;
const DATE_TIME_MIN: i64 = 21;
const DATE_TIME_MAX: i64 = 32;
/// The bytes that one character may take.
const CHARACTER_MAX: i64 = 4;

/// A place in a schema, as paths of expressions lead to it.
#[derive(Clone, Copy)]
enum Place<'a> {
    Schema(&'a Structural, bool),
    Metadata,
    Text,
    /// A map's key, of which nothing is known.
    Key,
}

/// How many elements or characters the value at a path may have; the path's first part is the variable.
pub fn max_elements(schema: &Structural, is_whole: bool, path: &[String]) -> Option<u64> {
    let mut place = Place::Schema(schema, is_whole);
    for part in path.get(1..)? {
        place = step(place, part)?;
    }
    let max = match place {
        Place::Schema(schema, _) => elements(schema)?,
        Place::Text => REQUEST_MAX - MARKS,
        Place::Metadata | Place::Key => 0,
    };
    u64::try_from(max).ok()
}

fn step<'a>(place: Place<'a>, part: &str) -> Option<Place<'a>> {
    let inside = |of: &'a Structural| Place::Schema(of, of.is_embedded);
    match (place, part) {
        (Place::Schema(schema, _), "@items") => schema.items.as_deref().map(inside),
        (Place::Schema(schema, _), "@values") => schema.values().map(inside),
        (Place::Schema(schema, _), "@keys") => schema.values().map(|_| Place::Key),
        (Place::Schema(_, true), "metadata") => Some(Place::Metadata),
        (Place::Schema(_, true), part) if META_FIELDS.contains(&part) => Some(Place::Text),
        (Place::Schema(schema, _), part) => {
            let found = schema.properties.iter().find(|(name, _)| escape(name).as_deref() == Some(part));
            found.map(|(_, of)| inside(of))
        }
        (Place::Metadata, "name" | "generateName") => Some(Place::Text),
        _ => None,
    }
}

fn elements(schema: &Structural) -> Option<i64> {
    let given = |limit: Option<i64>| limit.map(|n| n.max(0));
    let limits = &schema.limits;
    if schema.is_int_or_string {
        return Some(REQUEST_MAX - MARKS);
    }
    Some(match schema.ty {
        JsonType::Array => {
            let item = min_size(schema.items.as_deref()?)?;
            given(limits.max_items).unwrap_or((REQUEST_MAX - MARKS) / (item + 1))
        }
        JsonType::Object => match schema.values() {
            // The shortest key, its marks, a colon and a comma stand beside each value.
            Some(of) => {
                let value = min_size(of)?;
                given(limits.max_properties).unwrap_or((REQUEST_MAX - MARKS) / (value + 6))
            }
            None => 0,
        },
        JsonType::String => match (schema.format.as_str(), given(limits.max_length)) {
            ("duration", _) => DURATION_MAX,
            ("date", _) => DATE,
            ("date-time", _) => DATE_TIME_MAX,
            ("byte", Some(max)) => max,
            (_, Some(max)) => max.saturating_mul(CHARACTER_MAX),
            ("byte", None) => REQUEST_MAX - MARKS,
            (_, None) if !limits.options.is_empty() => {
                let texts = limits.options.iter().filter_map(|o| o.as_str());
                texts.map(|s| s.len() as i64).max().unwrap_or(0)
            }
            _ => REQUEST_MAX - MARKS,
        },
        JsonType::Boolean | JsonType::Integer | JsonType::Number => 0,
        JsonType::Any => return None,
    })
}

/// The fewest bytes that a value takes in JSON. None where nothing is known of it.
fn min_size(schema: &Structural) -> Option<i64> {
    if schema.is_int_or_string {
        return Some(1);
    }
    Some(match schema.ty {
        JsonType::Boolean => 4,
        JsonType::Integer | JsonType::Number => 1,
        JsonType::String => match schema.format.as_str() {
            "duration" => DURATION_MIN,
            "date" => DATE,
            "date-time" => DATE_TIME_MIN,
            _ => MARKS,
        },
        JsonType::Array => min_size(schema.items.as_deref()?).map(|_| MARKS)?,
        JsonType::Object => match schema.values() {
            Some(of) => min_size(of).map(|_| MARKS)?,
            None => {
                let required = schema
                    .properties
                    .iter()
                    .filter(|(name, of)| of.default.is_none() && schema.required.contains(name));
                let sizes = required.filter_map(|(name, of)| Some(name.len() as i64 + min_size(of)? + 4));
                MARKS + sizes.sum::<i64>()
            }
        },
        JsonType::Any => return None,
    })
}

/// How often a value of this schema may be in one request.
pub fn max_count(schema: &Structural) -> u64 {
    let size = min_size(schema).unwrap_or(0);
    u64::try_from(REQUEST_MAX / (size + 1)).unwrap_or(u64::MAX)
}
