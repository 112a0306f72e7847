//! The store against a model: whatever is asked of it, it answers as a map with a counter would.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Ask {
    Create(u8, u8),
    Update(u8, u8, Guess),
    Put(u8, u8),
    Delete(u8, Guess),
    Move(u8, u8),
}

/// Which revision a conditional write names.
#[derive(Clone, Copy, Debug)]
enum Guess {
    Right,
    Stale,
}

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let guess = prop_oneof![4 => Just(Guess::Right), 1 => Just(Guess::Stale)];
    let ask = prop_oneof![
        (0..6_u8, any::<u8>()).prop_map(|(k, v)| Ask::Create(k, v)),
        (0..6_u8, any::<u8>(), guess.clone()).prop_map(|(k, v, g)| Ask::Update(k, v, g)),
        (0..6_u8, 0..3_u8).prop_map(|(k, v)| Ask::Put(k, v)),
        (0..6_u8, guess).prop_map(|(k, g)| Ask::Delete(k, g)),
        (0..6_u8, 0..6_u8).prop_map(|(from, to)| Ask::Move(from, to)),
    ];
    proptest::collection::vec(ask, 1..60)
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    revision: u64,
    objects: BTreeMap<String, (u64, String)>,
}

impl Model {
    fn expected(&self, key: &str, guess: Guess) -> u64 {
        let present = self.objects.get(key).map_or(self.revision, |(revision, _)| *revision);
        match guess {
            Guess::Right => present,
            Guess::Stale => present.saturating_sub(1),
        }
    }

    /// The transaction that `ask` means, and whether and how it succeeds.
    fn ask(&mut self, ask: &Ask) -> (Txn, bool) {
        let (txn, after) = match ask {
            Ask::Create(k, v) => {
                let free = !self.objects.contains_key(&key(*k));
                (Txn::create(key(*k), draft(&v.to_string())), free.then(|| self.with(*k, *v)))
            }
            Ask::Put(k, v) => {
                (Txn::put(key(*k), Expect::Any, draft(&v.to_string())), Some(self.with(*k, *v)))
            }
            Ask::Update(k, v, guess) => {
                let expected = self.expected(&key(*k), *guess);
                let met = self.objects.get(&key(*k)).is_some_and(|(r, _)| *r == expected);
                (Txn::update(key(*k), expected, draft(&v.to_string())), met.then(|| self.with(*k, *v)))
            }
            Ask::Delete(k, guess) => {
                let expected = self.expected(&key(*k), *guess);
                let met = self.objects.get(&key(*k)).is_some_and(|(r, _)| *r == expected);
                (Txn::delete(key(*k), Expect::Revision(expected)), met.then(|| self.without(*k)))
            }
            Ask::Move(from, to) => self.relocate(*from, *to),
        };
        let met = after.is_some();
        *self = after.unwrap_or_else(|| self.clone());
        (txn, met)
    }

    fn relocate(&self, from: u8, to: u8) -> (Txn, Option<Model>) {
        let Some((revision, value)) = self.objects.get(&key(from)).filter(|_| from != to) else {
            return (Txn::default(), Some(self.clone()));
        };
        let ops = vec![crate::Op::Delete(key(from).into()), crate::Op::Put(key(to).into(), draft(value))];
        let checks = vec![(key(from).into(), Expect::Revision(*revision)), (key(to).into(), Expect::Absent)];
        let free = !self.objects.contains_key(&key(to));
        let mut after = self.without(from);
        after.objects.insert(key(to), (after.revision, value.clone()));
        (Txn { checks, ops }, free.then_some(after))
    }

    fn with(&self, k: u8, v: u8) -> Model {
        let mut after = self.clone();
        if self.objects.get(&key(k)).is_none_or(|(_, value)| *value != v.to_string()) {
            after.revision += 1;
            after.objects.insert(key(k), (after.revision, v.to_string()));
        }
        after
    }

    fn without(&self, k: u8) -> Model {
        let mut after = self.clone();
        after.revision += 1;
        after.objects.remove(&key(k));
        after
    }
}

fn key(k: u8) -> String {
    format!("/registry/pods/ns/{k}")
}

fn seen(snapshot: &Snapshot) -> Model {
    let objects = snapshot.range("", None).map(|v| (v.key.to_string(), (v.revision, value_of(&v.json))));
    Model { revision: snapshot.revision, objects: objects.collect() }
}

async fn follows_the_model(sut: &Sut, asks: &[Ask]) {
    let mut model = Model { revision: 1, ..Model::default() };
    let mut past = vec![model.clone()];
    for ask in asks {
        let (txn, met) = model.ask(ask);
        let answer = sut.store.commit(txn).await;
        assert_eq!(answer.is_ok(), met, "{ask:?}: {answer:?}");
        assert_eq!(seen(&sut.store.snapshot()), model, "{ask:?}");
        past.push(model.clone());
    }
    for then in &past {
        assert_eq!(seen(&sut.store.at(then.revision).unwrap()), *then, "the past is kept");
        assert_eq!(replay(sut, then), model, "a watch leads from the past to the present");
    }
}

/// What somebody knows who listed at `then` and watched since.
fn replay(sut: &Sut, then: &Model) -> Model {
    let mut known = then.clone();
    for event in sut.watch("", then.revision).ready(usize::MAX).unwrap() {
        let before = event.prev.as_ref().map(|v| (v.revision, value_of(&v.json)));
        assert_eq!(known.objects.get(&*event.key), before.as_ref(), "events are not skipped or doubled");
        assert!(event.revision >= known.revision);
        known.revision = event.revision;
        match &event.now {
            Some(now) => known.objects.insert(now.key.to_string(), (now.revision, value_of(&now.json))),
            None => known.objects.remove(&*event.key),
        };
    }
    known
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_follows_the_model(asks in asks()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { follows_the_model(&Sut::memory().await, &asks).await });
    }

    #[test]
    fn embedded_follows_the_model_and_survives_reopening(asks in asks()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let sut = Sut::embedded().await;
            follows_the_model(&sut, &asks).await;
            let last = seen(&sut.store.snapshot());
            sut.store.close().await;
            let dir = sut._dir.as_ref().unwrap().path().join("data");
            let reopened = Store::open(dir, meta_of()).await.unwrap();
            assert_eq!(seen(&reopened.snapshot()), last);
        });
    }
}
