//! The order of a merged list: what the patch names comes in the patch's order, what only the server has keeps its place.

use serde_json::Value;

/// Whether two items are the same one: by the merge key, or by value where there is none.
pub(super) fn same_item(a: &Value, b: &Value, key: &str) -> bool {
    if key.is_empty() { a == b } else { a.get(key).is_some() && a.get(key) == b.get(key) }
}

fn index(order: &[Value], item: &Value, key: &str) -> Option<usize> {
    order.iter().position(|o| same_item(o, item, key))
}

/// Arranges `merged` by the patch's order and the server's.
pub(super) fn arrange(merged: Vec<Value>, patched: &[Value], server: &[Value], key: &str) -> Vec<Value> {
    let (mut from_patch, mut server_only): (Vec<_>, Vec<_>) =
        merged.into_iter().partition(|item| index(patched, item, key).is_some());
    from_patch.sort_by_key(|item| index(patched, item, key));
    server_only.sort_by_key(|item| index(server, item, key));
    let mut arranged = Vec::with_capacity(from_patch.len() + server_only.len());
    let mut right = from_patch.into_iter().peekable();
    for left in server_only {
        let left_at = index(server, &left, key);
        // A patched item goes first, unless the server knows both and has this one before it.
        while let Some(next) = right.next_if(|r| match (left_at, index(server, r, key)) {
            (Some(l), Some(r)) => r < l,
            _ => true,
        }) {
            arranged.push(next);
        }
        arranged.push(left);
    }
    arranged.extend(right);
    arranged
}
