//! THE TABLE: every built-in kind is one row here, and nowhere else.
//!
//! Routes, discovery, OpenAPI, RBAC names, storage keys, garbage collection, namespace deletion, tables and CLI names
//! derive from [`KINDS`]. A custom resource becomes the same [`Kind`] at run time.

pub mod admissionregistration;
pub mod apiextensions;
pub mod apiregistration;
pub mod apps;
pub mod autoscaling;
pub mod batch;
pub mod certificates;
pub mod coordination;
pub mod core;
pub mod discovery;
pub mod flowcontrol;
pub mod networking;
pub mod node;
pub mod policy;
pub mod rbac;
#[cfg(test)]
mod recorded;
pub mod scheduling;
pub mod storage;
pub mod workload;

use std::borrow::Cow;
use std::mem;
use std::ops::Deref;
use std::sync::Arc;

use crate::custom::Custom;
use crate::print::{self, Plain, Print};
use crate::rules::{Ordinary, Rules};

pub type Text = Cow<'static, str>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Namespaced,
    Cluster,
}

/// What a path may say after an object's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subresource {
    Status,
    Scale,
    Finalize,
    Approval,
    Binding,
    Eviction,
    EphemeralContainers,
    Resize,
    Log,
    Exec,
    Attach,
    PortForward,
    Proxy,
    Token,
}

impl Subresource {
    pub fn name(self) -> &'static str {
        match self {
            Subresource::Status => "status",
            Subresource::Scale => "scale",
            Subresource::Finalize => "finalize",
            Subresource::Approval => "approval",
            Subresource::Binding => "binding",
            Subresource::Eviction => "eviction",
            Subresource::EphemeralContainers => "ephemeralcontainers",
            Subresource::Resize => "resize",
            Subresource::Log => "log",
            Subresource::Exec => "exec",
            Subresource::Attach => "attach",
            Subresource::PortForward => "portforward",
            Subresource::Proxy => "proxy",
            Subresource::Token => "token",
        }
    }

    pub fn parse(name: &str) -> Option<Subresource> {
        ALL_SUBRESOURCES.iter().copied().find(|s| s.name() == name)
    }

    /// The verbs that discovery lists for it.
    pub fn verbs(self) -> &'static [&'static str] {
        match self {
            Subresource::Status
            | Subresource::Scale
            | Subresource::Approval
            | Subresource::EphemeralContainers
            | Subresource::Resize => &["get", "patch", "update"],
            Subresource::Finalize => &["update"],
            Subresource::Binding | Subresource::Eviction | Subresource::Token => &["create"],
            Subresource::Log => &["get"],
            Subresource::Exec | Subresource::Attach | Subresource::PortForward => &["create", "get"],
            Subresource::Proxy => &["create", "delete", "get", "patch", "update"],
        }
    }
}

const ALL_SUBRESOURCES: [Subresource; 14] = [
    Subresource::Status,
    Subresource::Scale,
    Subresource::Finalize,
    Subresource::Approval,
    Subresource::Binding,
    Subresource::Eviction,
    Subresource::EphemeralContainers,
    Subresource::Resize,
    Subresource::Log,
    Subresource::Exec,
    Subresource::Attach,
    Subresource::PortForward,
    Subresource::Proxy,
    Subresource::Token,
];

/// A kind with its group and version, as bodies and discovery name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupVersionKind {
    pub group: Text,
    pub version: Text,
    pub kind: Text,
}

/// One served resource: a kind in one group and version.
#[derive(Clone)]
pub struct Kind {
    pub group: Text,
    pub version: Text,
    pub kind: Text,
    pub plural: Text,
    /// Empty in a row of [`KINDS`] (the kind in lower case); always set in a [`crate::catalog::Catalog`].
    pub singular: Text,
    pub short_names: Cow<'static, [Text]>,
    /// Empty where it is the kind and `List`; see [`Kind::list_kind`].
    pub list_kind: Text,
    pub categories: Cow<'static, [Text]>,
    pub scope: Scope,
    /// The verbs of the resource itself, as discovery lists them: `create`, `delete`, `deletecollection`, `get`,
    /// `list`, `patch`, `update`, `watch`.
    pub verbs: Cow<'static, [Text]>,
    pub subresources: Cow<'static, [Subresource]>,
    /// Where objects live: `/registry/<storage>/[<namespace>/]<name>`. Two rows with one `storage` are two views of the
    /// same objects (`events`, `horizontalpodautoscalers`).
    pub storage: Text,
    /// Whether objects of this storage are kept in another row's version: `rules.to_stored` and `rules.to_served` convert.
    pub is_view: bool,
    /// The row's key in the schema facts: `io.k8s.api.core.v1.Pod`.
    pub schema: Text,
    pub rules: Part<dyn Rules>,
    pub print: Part<dyn Print>,
    /// What a row has that a CustomResourceDefinition made.
    pub custom: Option<Arc<Custom>>,
}

/// A part of a row: of the table, as the program has it; of a custom resource, its own, which goes with the row.
pub enum Part<T: ?Sized + 'static> {
    Static(&'static T),
    Own(Arc<T>),
}

impl<T: ?Sized> Clone for Part<T> {
    fn clone(&self) -> Part<T> {
        match self {
            Part::Static(part) => Part::Static(part),
            Part::Own(part) => Part::Own(part.clone()),
        }
    }
}

impl<T: ?Sized> std::fmt::Debug for Part<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Part::Static(_) => "Part::Static",
            Part::Own(_) => "Part::Own",
        })
    }
}

impl<T: ?Sized> Deref for Part<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Part::Static(part) => part,
            Part::Own(part) => part,
        }
    }
}

impl Kind {
    /// `apps/v1`, or `v1` in the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    pub fn list_kind(&self) -> String {
        if self.list_kind.is_empty() { format!("{}List", self.kind) } else { self.list_kind.to_string() }
    }

    /// The list's key among the definitions of documents.
    pub fn list_schema(&self) -> String {
        if self.is_custom() {
            crate::custom::definition_name(&self.group, &self.version, &self.list_kind())
        } else {
            format!("{}List", self.schema)
        }
    }

    /// Whether a CustomResourceDefinition made the row.
    pub fn is_custom(&self) -> bool {
        self.custom.is_some()
    }

    /// Whether requests reach the row. The one in whose version a custom resource is stored need not be served.
    pub fn is_served(&self) -> bool {
        self.custom.as_ref().is_none_or(|c| c.is_served)
    }

    pub fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    pub fn allows(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }

    pub fn has(&self, sub: Subresource) -> bool {
        self.subresources.contains(&sub)
    }

    /// Whether the resource is an action, not objects that are kept (reviews, bindings).
    pub fn is_virtual(&self) -> bool {
        !self.allows("watch")
    }

    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind { group: self.group.clone(), version: self.version.clone(), kind: self.kind.clone() }
    }

    /// The kind of the bodies that a subresource takes and gives; for streams, of its query parameters.
    pub fn served_as(&self, sub: Subresource) -> GroupVersionKind {
        let of = |group: &'static str, version: &'static str, kind: &'static str| GroupVersionKind {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
        };
        let own = |kind: String| GroupVersionKind { kind: kind.into(), ..self.gvk() };
        match sub {
            Subresource::Status
            | Subresource::Finalize
            | Subresource::Approval
            | Subresource::EphemeralContainers
            | Subresource::Resize
            | Subresource::Log => self.gvk(),
            Subresource::Scale => of("autoscaling", "v1", "Scale"),
            Subresource::Eviction => of("policy", "v1", "Eviction"),
            Subresource::Token => of("authentication.k8s.io", "v1", "TokenRequest"),
            Subresource::Binding => of("", "v1", "Binding"),
            Subresource::Exec => own(format!("{}ExecOptions", self.kind)),
            Subresource::Attach => own(format!("{}AttachOptions", self.kind)),
            Subresource::PortForward => own(format!("{}PortForwardOptions", self.kind)),
            Subresource::Proxy => own(format!("{}ProxyOptions", self.kind)),
        }
    }

    /// The resource as errors print it.
    pub fn resource(&self) -> crate::status::Resource<'_> {
        crate::status::Resource { group: &self.group, resource: &self.plural }
    }
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.api_version(), self.kind)
    }
}

/// A short list of names that a `const` row may hold.
macro_rules! texts {
    ($($text:literal),*) => { &[$(Cow::Borrowed($text)),*] };
}

pub(crate) const ALL_VERBS: &[Text] =
    texts!["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// A Namespace is deleted one at a time: each deletion takes everything in it along.
const NO_DELETECOLLECTION: &[Text] = texts!["create", "delete", "get", "list", "patch", "update", "watch"];
const CREATE: &[Text] = texts!["create"];
const READ: &[Text] = texts!["get", "list"];

/// Sets a field of a row in a `const` context, where the old value's destructor cannot run; it owns nothing there.
const fn set<T>(slot: &mut T, value: T) {
    mem::forget(mem::replace(slot, value));
}

/// How a row of the table is written.
impl Kind {
    const fn row(
        (group, version, scope): (&'static str, &'static str, Scope),
        kind: &'static str,
        plural: &'static str,
        schema: &'static str,
    ) -> Kind {
        Kind {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            kind: Cow::Borrowed(kind),
            plural: Cow::Borrowed(plural),
            singular: Cow::Borrowed(""),
            short_names: Cow::Borrowed(&[]),
            list_kind: Cow::Borrowed(""),
            categories: Cow::Borrowed(&[]),
            scope,
            verbs: Cow::Borrowed(ALL_VERBS),
            subresources: Cow::Borrowed(&[]),
            storage: Cow::Borrowed(plural),
            is_view: false,
            schema: Cow::Borrowed(schema),
            rules: Part::Static(&Ordinary),
            print: Part::Static(&Plain),
            custom: None,
        }
    }

    const fn short(mut self, names: &'static [Text]) -> Kind {
        set(&mut self.short_names, Cow::Borrowed(names));
        self
    }

    /// Listed by `kubectl get all`.
    const fn all(mut self) -> Kind {
        set(&mut self.categories, Cow::Borrowed(texts!["all"]));
        self
    }

    /// Configures the API server itself.
    const fn extension(mut self) -> Kind {
        set(&mut self.categories, Cow::Borrowed(texts!["api-extensions"]));
        self
    }

    const fn verbs(mut self, verbs: &'static [Text]) -> Kind {
        set(&mut self.verbs, Cow::Borrowed(verbs));
        self
    }

    const fn sub(mut self, subresources: &'static [Subresource]) -> Kind {
        set(&mut self.subresources, Cow::Borrowed(subresources));
        self
    }

    const fn view(mut self) -> Kind {
        self.is_view = true;
        self
    }

    pub const fn rules(mut self, rules: &'static dyn Rules) -> Kind {
        set(&mut self.rules, Part::Static(rules));
        self
    }

    pub const fn print(mut self, print: &'static dyn Print) -> Kind {
        set(&mut self.print, Part::Static(print));
        self
    }
}

/// `"group" "version" in "schema package" { Scope "Kind" "plural" .builder(…); … }`
macro_rules! kinds {
    ($($group:literal $version:literal in $package:literal {
        $($scope:ident $kind:literal $plural:literal $(.$set:ident($($arg:expr),*))*;)*
    })*) => {
        &[$($(
            Kind::row(($group, $version, Scope::$scope), $kind, $plural, concat!($package, ".", $kind))
                $(.$set($($arg),*))*,
        )*)*]
    };
}

use Subresource::{
    Approval, Attach, Binding, EphemeralContainers, Eviction, Exec, Finalize, Log, PortForward, Proxy,
    Resize, Scale, Status, Token,
};

/// Every built-in kind, in the order in which discovery names the groups and, within one, the versions.
pub static KINDS: &[Kind] = kinds! {
    "" "v1" in "io.k8s.api.core.v1" {
        Namespaced "Binding" "bindings" .verbs(CREATE);
        Cluster "ComponentStatus" "componentstatuses" .short(texts!["cs"]) .verbs(READ) .rules(&core::component_status::ComponentStatus) .print(&print::COMPONENT_STATUS);
        Namespaced "ConfigMap" "configmaps" .short(texts!["cm"]) .rules(&core::config_map::ConfigMap) .print(&print::CONFIG_MAP);
        Namespaced "Endpoints" "endpoints" .short(texts!["ep"]) .rules(&core::endpoints::Endpoints) .print(&print::ENDPOINTS);
        Namespaced "Event" "events" .short(texts!["ev"]) .rules(&core::event::Event) .print(&print::EVENT);
        Namespaced "LimitRange" "limitranges" .short(texts!["limits"]) .rules(&core::limit_range::LimitRange);
        Cluster "Namespace" "namespaces" .short(texts!["ns"]) .verbs(NO_DELETECOLLECTION) .sub(&[Finalize, Status]) .rules(&core::namespace::Namespace) .print(&print::NAMESPACE);
        Cluster "Node" "nodes" .short(texts!["no"]) .sub(&[Proxy, Status]) .rules(&core::node::Node) .print(&print::NODE);
        Namespaced "PersistentVolumeClaim" "persistentvolumeclaims" .short(texts!["pvc"]) .sub(&[Status]) .rules(&core::persistent_volume_claim::PersistentVolumeClaim) .print(&print::PERSISTENT_VOLUME_CLAIM);
        Cluster "PersistentVolume" "persistentvolumes" .short(texts!["pv"]) .sub(&[Status]) .rules(&core::persistent_volume::PersistentVolume) .print(&print::PERSISTENT_VOLUME);
        Namespaced "Pod" "pods" .short(texts!["po"]) .all() .sub(&[Attach, Binding, EphemeralContainers, Eviction, Exec, Log, PortForward, Proxy, Resize, Status]) .rules(&core::pod::Pod) .print(&print::POD);
        Namespaced "PodTemplate" "podtemplates" .rules(&core::pod_template::PodTemplate) .print(&print::POD_TEMPLATE);
        Namespaced "ReplicationController" "replicationcontrollers" .short(texts!["rc"]) .all() .sub(&[Scale, Status]) .rules(&core::replication_controller::ReplicationController) .print(&print::REPLICATION_CONTROLLER);
        Namespaced "ResourceQuota" "resourcequotas" .short(texts!["quota"]) .sub(&[Status]) .rules(&core::resource_quota::ResourceQuota) .print(&print::RESOURCE_QUOTA);
        Namespaced "Secret" "secrets" .rules(&core::secret::Secret) .print(&print::SECRET);
        Namespaced "ServiceAccount" "serviceaccounts" .short(texts!["sa"]) .sub(&[Token]) .rules(&core::service_account::ServiceAccount) .print(&print::SERVICE_ACCOUNT);
        Namespaced "Service" "services" .short(texts!["svc"]) .all() .sub(&[Proxy, Status]) .rules(&core::service::Service) .print(&print::SERVICE);
    }
    "apiregistration.k8s.io" "v1" in "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1" {
        Cluster "APIService" "apiservices" .extension() .sub(&[Status]) .rules(&apiregistration::ApiService) .print(&print::API_SERVICE);
    }
    "apps" "v1" in "io.k8s.api.apps.v1" {
        Namespaced "ControllerRevision" "controllerrevisions" .rules(&apps::controller_revision::ControllerRevision) .print(&print::CONTROLLER_REVISION);
        Namespaced "DaemonSet" "daemonsets" .short(texts!["ds"]) .all() .sub(&[Status]) .rules(&apps::daemon_set::DaemonSet) .print(&print::DAEMON_SET);
        Namespaced "Deployment" "deployments" .short(texts!["deploy"]) .all() .sub(&[Scale, Status]) .rules(&apps::deployment::Deployment) .print(&print::DEPLOYMENT);
        Namespaced "ReplicaSet" "replicasets" .short(texts!["rs"]) .all() .sub(&[Scale, Status]) .rules(&apps::replica_set::ReplicaSet) .print(&print::REPLICA_SET);
        Namespaced "StatefulSet" "statefulsets" .short(texts!["sts"]) .all() .sub(&[Scale, Status]) .rules(&apps::stateful_set::StatefulSet) .print(&print::STATEFUL_SET);
    }
    "events.k8s.io" "v1" in "io.k8s.api.events.v1" {
        Namespaced "Event" "events" .short(texts!["ev"]) .view() .rules(&core::event::NewEvent) .print(&print::EVENT);
    }
    "authentication.k8s.io" "v1" in "io.k8s.api.authentication.v1" {
        Cluster "SelfSubjectReview" "selfsubjectreviews" .verbs(CREATE);
        Cluster "TokenReview" "tokenreviews" .verbs(CREATE);
    }
    "authorization.k8s.io" "v1" in "io.k8s.api.authorization.v1" {
        Namespaced "LocalSubjectAccessReview" "localsubjectaccessreviews" .verbs(CREATE);
        Cluster "SelfSubjectAccessReview" "selfsubjectaccessreviews" .verbs(CREATE);
        Cluster "SelfSubjectRulesReview" "selfsubjectrulesreviews" .verbs(CREATE);
        Cluster "SubjectAccessReview" "subjectaccessreviews" .verbs(CREATE);
    }
    "autoscaling" "v2" in "io.k8s.api.autoscaling.v2" {
        Namespaced "HorizontalPodAutoscaler" "horizontalpodautoscalers" .short(texts!["hpa"]) .all() .sub(&[Status]) .rules(&autoscaling::HorizontalPodAutoscaler) .print(&print::HORIZONTAL_POD_AUTOSCALER);
    }
    "autoscaling" "v1" in "io.k8s.api.autoscaling.v1" {
        Namespaced "HorizontalPodAutoscaler" "horizontalpodautoscalers" .short(texts!["hpa"]) .all() .sub(&[Status]) .view() .rules(&autoscaling::OldHorizontalPodAutoscaler) .print(&print::HORIZONTAL_POD_AUTOSCALER);
    }
    "batch" "v1" in "io.k8s.api.batch.v1" {
        Namespaced "CronJob" "cronjobs" .short(texts!["cj"]) .all() .sub(&[Status]) .rules(&batch::cron_job::CronJob) .print(&print::CRON_JOB);
        Namespaced "Job" "jobs" .all() .sub(&[Status]) .rules(&batch::job::Job) .print(&print::JOB);
    }
    "certificates.k8s.io" "v1" in "io.k8s.api.certificates.v1" {
        Cluster "CertificateSigningRequest" "certificatesigningrequests" .short(texts!["csr"]) .sub(&[Approval, Status]) .rules(&certificates::CertificateSigningRequest) .print(&print::CERTIFICATE_SIGNING_REQUEST);
    }
    "networking.k8s.io" "v1" in "io.k8s.api.networking.v1" {
        Cluster "IngressClass" "ingressclasses" .rules(&networking::ingress::IngressClass) .print(&print::INGRESS_CLASS);
        Namespaced "Ingress" "ingresses" .short(texts!["ing"]) .sub(&[Status]) .rules(&networking::ingress::Ingress) .print(&print::INGRESS);
        Cluster "IPAddress" "ipaddresses" .short(texts!["ip"]) .rules(&networking::addresses::IpAddress) .print(&print::IP_ADDRESS);
        Namespaced "NetworkPolicy" "networkpolicies" .short(texts!["netpol"]) .rules(&networking::network_policy::NetworkPolicy) .print(&print::NETWORK_POLICY);
        Cluster "ServiceCIDR" "servicecidrs" .sub(&[Status]) .rules(&networking::addresses::ServiceCidr) .print(&print::SERVICE_CIDR);
    }
    "policy" "v1" in "io.k8s.api.policy.v1" {
        Namespaced "PodDisruptionBudget" "poddisruptionbudgets" .short(texts!["pdb"]) .sub(&[Status]) .rules(&policy::PodDisruptionBudget) .print(&print::POD_DISRUPTION_BUDGET);
    }
    "rbac.authorization.k8s.io" "v1" in "io.k8s.api.rbac.v1" {
        Cluster "ClusterRoleBinding" "clusterrolebindings" .rules(&rbac::ClusterRoleBinding) .print(&print::BINDING);
        Cluster "ClusterRole" "clusterroles" .rules(&rbac::ClusterRole);
        Namespaced "RoleBinding" "rolebindings" .rules(&rbac::RoleBinding) .print(&print::BINDING);
        Namespaced "Role" "roles" .rules(&rbac::Role);
    }
    "storage.k8s.io" "v1" in "io.k8s.api.storage.v1" {
        Cluster "CSIDriver" "csidrivers" .rules(&storage::CsiDriver) .print(&print::CSI_DRIVER);
        Cluster "CSINode" "csinodes" .rules(&storage::CsiNode) .print(&print::CSI_NODE);
        Namespaced "CSIStorageCapacity" "csistoragecapacities" .rules(&storage::CsiStorageCapacity) .print(&print::CSI_STORAGE_CAPACITY);
        Cluster "StorageClass" "storageclasses" .short(texts!["sc"]) .rules(&storage::StorageClass) .print(&print::STORAGE_CLASS);
        Cluster "VolumeAttachment" "volumeattachments" .sub(&[Status]) .rules(&storage::VolumeAttachment) .print(&print::VOLUME_ATTACHMENT);
        Cluster "VolumeAttributesClass" "volumeattributesclasses" .short(texts!["vac"]) .rules(&storage::VolumeAttributesClass) .print(&print::VOLUME_ATTRIBUTES_CLASS);
    }
    "admissionregistration.k8s.io" "v1" in "io.k8s.api.admissionregistration.v1" {
        Cluster "MutatingAdmissionPolicy" "mutatingadmissionpolicies" .extension() .rules(&admissionregistration::MutatingAdmissionPolicy) .print(&print::MUTATING_POLICY);
        Cluster "MutatingAdmissionPolicyBinding" "mutatingadmissionpolicybindings" .extension() .rules(&admissionregistration::MutatingAdmissionPolicyBinding) .print(&print::POLICY_BINDING);
        Cluster "MutatingWebhookConfiguration" "mutatingwebhookconfigurations" .extension() .rules(&admissionregistration::MutatingWebhookConfiguration) .print(&print::MUTATING_WEBHOOK);
        Cluster "ValidatingAdmissionPolicy" "validatingadmissionpolicies" .extension() .sub(&[Status]) .rules(&admissionregistration::ValidatingAdmissionPolicy) .print(&print::VALIDATING_POLICY);
        Cluster "ValidatingAdmissionPolicyBinding" "validatingadmissionpolicybindings" .extension() .rules(&admissionregistration::ValidatingAdmissionPolicyBinding) .print(&print::POLICY_BINDING);
        Cluster "ValidatingWebhookConfiguration" "validatingwebhookconfigurations" .extension() .rules(&admissionregistration::ValidatingWebhookConfiguration) .print(&print::VALIDATING_WEBHOOK);
    }
    "apiextensions.k8s.io" "v1" in "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1" {
        Cluster "CustomResourceDefinition" "customresourcedefinitions" .short(texts!["crd", "crds"]) .extension() .sub(&[Status]) .rules(&apiextensions::CustomResourceDefinition);
    }
    "scheduling.k8s.io" "v1" in "io.k8s.api.scheduling.v1" {
        Cluster "PriorityClass" "priorityclasses" .short(texts!["pc"]) .rules(&scheduling::PriorityClass) .print(&print::PRIORITY_CLASS);
    }
    "coordination.k8s.io" "v1" in "io.k8s.api.coordination.v1" {
        Namespaced "Lease" "leases" .rules(&coordination::Lease) .print(&print::LEASE);
    }
    "node.k8s.io" "v1" in "io.k8s.api.node.v1" {
        Cluster "RuntimeClass" "runtimeclasses" .rules(&node::RuntimeClass) .print(&print::RUNTIME_CLASS);
    }
    "discovery.k8s.io" "v1" in "io.k8s.api.discovery.v1" {
        Namespaced "EndpointSlice" "endpointslices" .rules(&discovery::EndpointSlice) .print(&print::ENDPOINT_SLICE);
    }
    "flowcontrol.apiserver.k8s.io" "v1" in "io.k8s.api.flowcontrol.v1" {
        Cluster "FlowSchema" "flowschemas" .sub(&[Status]) .rules(&flowcontrol::FlowSchema) .print(&print::FLOW_SCHEMA);
        Cluster "PriorityLevelConfiguration" "prioritylevelconfigurations" .sub(&[Status]) .rules(&flowcontrol::PriorityLevelConfiguration) .print(&print::PRIORITY_LEVEL);
    }
    "resource.k8s.io" "v1" in "io.k8s.api.resource.v1" {
        Cluster "DeviceClass" "deviceclasses" .print(&print::AGED);
        Namespaced "ResourceClaim" "resourceclaims" .sub(&[Status]) .print(&print::RESOURCE_CLAIM);
        Namespaced "ResourceClaimTemplate" "resourceclaimtemplates" .print(&print::AGED);
        Cluster "ResourceSlice" "resourceslices" .print(&print::RESOURCE_SLICE);
    }
};

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_rows_share_a_path_or_a_kind() {
        let mut seen = HashSet::new();
        for k in KINDS {
            assert!(seen.insert((k.api_version(), k.plural.clone())), "{k:?} twice");
            assert!(seen.insert((k.api_version(), k.kind.clone())), "{k:?} twice");
        }
    }

    #[test]
    fn every_storage_has_one_row_that_is_no_view() {
        for k in KINDS {
            let keepers: Vec<_> = KINDS.iter().filter(|o| o.storage == k.storage && !o.is_view).collect();
            assert_eq!(keepers.len(), 1, "{k:?}: {keepers:?}");
        }
    }
}
