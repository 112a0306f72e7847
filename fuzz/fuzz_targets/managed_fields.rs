//! Sets of field paths: what is written is read as the same, they are sets, and their elements are in one order.

#![no_main]

use std::cmp::Ordering;

use coracle_api::patch::fieldset::{Element, Set};
use coracle_fuzz::{object, parts, stretched, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let data = stretched(data);
    let [a, b, elements] = parts(&data);
    elements_are_ordered(elements);
    let (Some(a), Some(b)) = (object(a), object(b)) else { return };
    let (Some(a), Some(b)) = (Set::parse(&a), Set::parse(&b)) else { return };
    for set in [&a, &b] {
        let written = set.encode();
        assert_eq!(Set::parse(&written).as_ref(), Some(set), "{written}");
        assert_eq!(set.clone().union(set.clone()), *set);
        assert_eq!(set.intersection(set), *set);
        assert!(set.clone().minus(set).is_empty());
        let paths = set.paths();
        assert_eq!(paths.is_empty(), set.is_empty());
    }
    let (union, common) = (a.clone().union(b.clone()), a.intersection(&b));
    assert_eq!(b.clone().union(a.clone()), union);
    assert_eq!(b.intersection(&a), common);
    let (only_a, only_b) = (a.clone().minus(&b), b.clone().minus(&a));
    assert!(only_a.intersection(&b).is_empty() && only_b.intersection(&a).is_empty());
    assert_eq!(only_a.union(common).union(only_b), union);
    assert!(a.minus_below(&union).is_empty());
});

/// Sorting by what is no order may panic, and looking up by it misses what is there.
fn elements_are_ordered(data: &[u8]) {
    let Some(data) = text(data) else { return };
    let all: Vec<Element<'_>> = data.split('\n').take(8).map(|text| Element::Key(text.into())).collect();
    for a in &all {
        for b in &all {
            assert_eq!(a.cmp(b), b.cmp(a).reverse(), "{a:?} {b:?}");
            assert_eq!(a.cmp(b) == Ordering::Equal, a == b, "{a:?} {b:?}");
            for c in &all {
                assert!(!(a <= b && b <= c) || a <= c, "{a:?} {b:?} {c:?}");
            }
        }
    }
}
