//! What is odd about a kind. Every method has a default: silence means ordinary.
//!
//! Rules see the object as JSON after the schema engine has checked its types and dropped unknown fields, so they may
//! read any field by its documented type. They never decode, store or authorise.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::Value;

use crate::field::Errors;
use crate::kinds::Text;

/// What an update is about: the main resource or one of its subresources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    Main,
    Status,
    /// `pods/ephemeralcontainers`, `pods/resize`, `namespaces/finalize`, `certificatesigningrequests/approval`.
    Sub(crate::Subresource),
}

/// The time and identity that some rules need; rules never read a clock.
#[derive(Debug, Clone)]
pub struct Cx {
    /// RFC 3339, whole seconds, `Z`.
    pub now: String,
    /// The user's name, for kinds that record who asked (CertificateSigningRequest).
    pub user: crate::User,
}

/// Where the scale subresource finds its numbers. Paths have dots between their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalePaths {
    /// The wanted number: `spec.replicas`.
    pub replicas: Cow<'static, str>,
    /// The number there is: `status.replicas`.
    pub status_replicas: Cow<'static, str>,
    pub selector: ScaleSelector,
}

/// In which form the object keeps the selector of what it scales.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScaleSelector {
    /// A `LabelSelector` at this path.
    Structured(Cow<'static, str>),
    /// A plain map of labels at this path.
    Labels(Cow<'static, str>),
    /// Text at this path (custom resources).
    Text(Cow<'static, str>),
    None,
}

impl ScalePaths {
    /// As all workloads of `apps` have it.
    pub const WORKLOAD: ScalePaths = ScalePaths {
        replicas: Cow::Borrowed("spec.replicas"),
        status_replicas: Cow::Borrowed("status.replicas"),
        selector: ScaleSelector::Structured(Cow::Borrowed("spec.selector")),
    };
}

pub trait Rules: Send + Sync {
    /// Fill in what the user left out, beyond what the schema facts say. Must be idempotent.
    fn default(&self, _obj: &mut Value) {}

    /// Bring a new object into the shape in which it is born: status reset, generated fields set. The status of a kind
    /// that has a status subresource, and `metadata.generation`, are seen to before this is called.
    fn prepare_create(&self, _cx: &Cx, _obj: &mut Value) {}

    /// Keep what an update may not touch. The status (for `Write::Main`) or everything but the status (for
    /// `Write::Status`) has already been put back from `old`.
    fn prepare_update(&self, _cx: &Cx, _obj: &mut Value, _old: &Value, _write: Write) {}

    fn validate(&self, _obj: &Value, _errs: &mut Errors) {}

    /// Called after [`Rules::validate`] of the new object, for what may not change.
    fn validate_update(&self, _obj: &Value, _old: &Value, _write: Write, _errs: &mut Errors) {}

    /// All that an update is checked for. Of a custom resource only what has changed is.
    /// Answers with complaints about what was there before, which are worth no more than a warning.
    fn validate_change(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) -> Vec<String> {
        self.validate(obj, errs);
        self.validate_update(obj, old, write, errs);
        Vec::new()
    }

    /// Things worth a `Warning` header.
    fn warnings(&self, _obj: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }

    /// What everybody is told who still uses the kind.
    fn deprecation(&self) -> Option<&str> {
        None
    }

    /// `Err(why)` where the name is not allowed; the default is a DNS subdomain.
    fn check_name(&self, name: &str, prefix: bool) -> Vec<String> {
        crate::names::dns_subdomain(name, prefix)
    }

    /// Whether a finalizer without a domain must be one of the reference's own (not so for custom resources).
    fn standard_finalizers(&self) -> bool {
        true
    }

    /// Where `/scale` finds its numbers, for kinds that have it.
    fn scale(&self) -> Option<ScalePaths> {
        None
    }

    /// Whether `metadata.generation` counts changes of the spec.
    fn counts_generation(&self) -> bool {
        true
    }

    /// Whether a change of the status counts, too: of a custom resource without a status subresource.
    fn counts_status(&self) -> bool {
        false
    }

    /// Whether a PUT of a missing object creates it (Lease, RoleBinding … as in the reference's strategies).
    fn create_on_update(&self) -> bool {
        false
    }

    /// Whether a PUT without a resourceVersion is taken.
    fn unconditional_update(&self) -> bool {
        true
    }

    /// The paths, beside `metadata.name` and `metadata.namespace`, that a field selector may name.
    fn selectable(&self) -> &[Text] {
        &[]
    }

    /// The value of a selectable path, as a selector compares it. It looks at first elements of lists only and no deeper
    /// than four levels: of a stored object no more is read back.
    fn field(&self, obj: &Value, path: &str) -> String {
        let v = path.split('.').try_fold(obj, |v, k| v.get(k));
        match v {
            Some(Value::String(s)) => s.clone(),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        }
    }

    /// Whether a new object keeps the status that its creator sent (a kubelet registers its Node whole).
    fn keeps_status(&self) -> bool {
        false
    }

    /// Whether a deletion answers with the deleted object; else with a Status.
    fn returns_deleted(&self) -> bool {
        false
    }

    /// The seconds of grace a deletion gets, and whether the object stays until they are over (Pods). `asked` is what
    /// the caller's DeleteOptions said.
    fn grace_seconds(&self, _obj: &Value, _asked: Option<i64>) -> Option<i64> {
        None
    }

    /// How long after its last change an object of the kind is deleted.
    fn time_to_live(&self) -> Option<Duration> {
        None
    }

    /// From the form in which objects are stored to this row's own version (HPA v2 → v1, core Event → events.k8s.io).
    fn to_served(&self, _obj: &mut Value) {}

    /// The way back.
    fn to_stored(&self, _obj: &mut Value) {}
}

/// Facts about a kind that its rules state in one word each: `facts!(uncounted, conditional)`.
macro_rules! facts {
    ($($fact:ident),*) => { $($crate::rules::fact!($fact);)* };
}

/// One of [`facts`].
macro_rules! fact {
    // `metadata.generation` is never set.
    (uncounted) => {
        fn counts_generation(&self) -> bool {
            false
        }
    };
    // A PUT must name the resourceVersion that it replaces.
    (conditional) => {
        fn unconditional_update(&self) -> bool {
            false
        }
    };
    // A PUT of a missing object creates it.
    (upsert) => {
        fn create_on_update(&self) -> bool {
            true
        }
    };
    // A name only has to fit into a path.
    (any_name) => {
        fn check_name(&self, name: &str, prefix: bool) -> Vec<String> {
            $crate::names::path_segment(name, prefix)
        }
    };
    // A deletion answers with the object that is gone.
    (returned) => {
        fn returns_deleted(&self) -> bool {
            true
        }
    };
    // Who creates it may say its status.
    (whole) => {
        fn keeps_status(&self) -> bool {
            true
        }
    };
    (label_name) => {
        fn check_name(&self, name: &str, prefix: bool) -> Vec<String> {
            $crate::names::dns_label(name, prefix)
        }
    };
}

/// The paths that field selectors of a built-in kind may name.
macro_rules! selectable {
    ($($path:literal),*) => {
        fn selectable(&self) -> &[$crate::kinds::Text] {
            const PATHS: &[$crate::kinds::Text] = &[$(std::borrow::Cow::Borrowed($path)),*];
            PATHS
        }
    };
}

pub(crate) use {fact, facts, selectable};

/// A kind that has no rules.
#[derive(Debug)]
pub struct Ordinary;

impl Rules for Ordinary {}
