//! The Pods that have no node: those to try now, in order of priority and age, and those that wait for a change.

use std::collections::{HashMap, VecDeque};

use k8s_openapi::api::core::v1::Pod;

#[derive(Debug, Default)]
pub(crate) struct Queue {
    pods: HashMap<String, Waiting>,
    active: VecDeque<String>,
}

#[derive(Debug)]
struct Waiting {
    pod: Pod,
    /// Why it found no node the last time, so that the same words are said once.
    why: Option<String>,
}

impl Queue {
    pub(crate) fn push(&mut self, key: String, pod: Pod) {
        let known = self.pods.get(&key);
        let why = known.and_then(|w| w.why.clone());
        // A change of status only (our own words come back by watch) is no reason to try again.
        let tried =
            known.is_some_and(|w| w.why.is_some() && w.pod.spec == pod.spec && same_labels(&w.pod, &pod));
        self.pods.insert(key.clone(), Waiting { pod, why });
        if !tried {
            self.activate(key);
        }
    }

    fn activate(&mut self, key: String) {
        if self.active.contains(&key) {
            return;
        }
        let priority = |key: &String| {
            self.pods.get(key).and_then(|w| w.pod.spec.as_ref()).and_then(|s| s.priority).unwrap_or(0)
        };
        let mine = priority(&key);
        let at = self.active.iter().position(|other| priority(other) < mine).unwrap_or(self.active.len());
        self.active.insert(at, key);
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Pod> {
        self.pods.get(key).map(|w| &w.pod)
    }

    pub(crate) fn pop(&mut self) -> Option<String> {
        self.active.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    pub(crate) fn remove(&mut self, key: &str) {
        if self.pods.remove(key).is_some() {
            self.active.retain(|k| k != key);
        }
    }

    /// Leave a Pod aside until something changes.
    pub(crate) fn park(&mut self, key: &str) {
        self.active.retain(|k| k != key);
    }

    /// As [`Queue::park`]; whether these words are new.
    pub(crate) fn park_because(&mut self, key: &str, why: &str) -> bool {
        self.park(key);
        let Some(waiting) = self.pods.get_mut(key) else { return false };
        let new = waiting.why.as_deref() != Some(why);
        waiting.why = Some(why.to_owned());
        new
    }

    /// Nothing could be said after all: the Pod's next change is a reason to try again.
    pub(crate) fn forget_why(&mut self, key: &str) {
        if let Some(waiting) = self.pods.get_mut(key) {
            waiting.why = None;
        }
    }

    /// The cluster changed: everybody may try again.
    pub(crate) fn wake_all(&mut self) {
        let mut keys: Vec<String> = self.pods.keys().cloned().collect();
        keys.sort();
        keys.into_iter().for_each(|key| self.activate(key));
    }
}

fn same_labels(a: &Pod, b: &Pod) -> bool {
    a.metadata.labels == b.metadata.labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(priority: i32) -> Pod {
        serde_json::from_value(
            json!({"metadata": {"name": "p"}, "spec": {"containers": [], "priority": priority}}),
        )
        .unwrap()
    }

    #[test]
    fn higher_priority_goes_first_and_a_refused_pod_waits_for_a_change() {
        let mut queue = Queue::default();
        queue.push("ns/low".into(), pod(0));
        queue.push("ns/high".into(), pod(10));
        assert_eq!(queue.pop().as_deref(), Some("ns/high"));
        assert!(queue.park_because("ns/high", "full"));
        assert!(!queue.park_because("ns/high", "full"));
        queue.push("ns/high".into(), pod(10));
        assert_eq!(queue.pop().as_deref(), Some("ns/low"));
        assert_eq!(queue.pop(), None);
        queue.wake_all();
        assert_eq!(queue.pop().as_deref(), Some("ns/high"));
        queue.forget_why("ns/high");
        queue.push("ns/high".into(), pod(10));
        assert_eq!(queue.pop().as_deref(), Some("ns/high"), "its change is a reason to try again");
    }
}
