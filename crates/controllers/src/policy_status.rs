//! ValidatingAdmissionPolicies: what their expressions do not fit, told in their status.

use std::collections::BTreeMap;

use coracle_api::catalog::{Catalog, split_api_version};
use coracle_api::cel::Decl;
use coracle_api::cel::typing::{self, Named, Typed};
use coracle_api::schema::{Schemas, Structural};
use futures::stream::StreamExt;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::work::{self, Key, Next};
use crate::{Context, Error, found};

/// The manager of the status, as in the reference.
const MANAGER: &str = "validatingadmissionpolicy-status";

pub(crate) async fn run(cx: Context) -> Result<(), Error> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(cx.client.clone());
    let changed = work::changes(policies, watcher::Config::default()).map(|c| Key::of(c.object()));
    work::reconcile_all(changed.boxed(), &cx.clock, |key| reconcile(&cx, key)).await
}

async fn reconcile(cx: &Context, key: Key) -> Result<Next, Error> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(cx.client.clone());
    let Some(policy) = found(policies.get(&key.name).await)? else { return Ok(Next::Wait) };
    let generation = policy.metadata.generation.unwrap_or_default();
    if generation <= policy.status.as_ref().and_then(|s| s.observed_generation).unwrap_or_default() {
        return Ok(Next::Wait);
    }
    let spec = serde_json::to_value(&policy.spec).map_err(|e| Error::Unexpected(e.to_string()))?;
    let mut kinds = Kinds { cx, custom: None };
    let types = kinds.of_rules(&spec).await?;
    let params = kinds.of_params(&spec).await?;
    let warnings: Vec<Value> = typing::check(&spec, &types, params.as_ref())
        .into_iter()
        .map(|w| json!({"fieldRef": w.field, "warning": w.words}))
        .collect();
    let mut checked = json!({});
    if !warnings.is_empty() {
        checked["expressionWarnings"] = Value::from(warnings);
    }
    let applied = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": policy.name_any()},
        "status": {"observedGeneration": generation, "typeChecking": checked}});
    let params = PatchParams::apply(MANAGER).force();
    found(policies.patch_status(&key.name, &params, &Patch::Apply(&applied)).await)?;
    Ok(Next::Wait)
}

/// The types of kinds: built-in ones are known, custom ones are asked for once.
struct Kinds<'a> {
    cx: &'a Context,
    custom: Option<Vec<Value>>,
}

impl Kinds<'_> {
    async fn of_rules(&mut self, spec: &Value) -> Result<Vec<Typed>, Error> {
        let mut types = BTreeMap::new();
        'rules: for rule in typing::named(spec) {
            let mut count = 0;
            for named in rule {
                let Some((order, typed)) = self.of_resource(&named).await? else { continue };
                types.insert(order, typed);
                count += 1;
                if count == typing::TYPES_MAX {
                    break 'rules;
                }
            }
        }
        Ok(types.into_values().collect())
    }

    /// The type of a resource's objects, and its place among others.
    async fn of_resource(&mut self, named: &Named) -> Result<Option<([String; 3], Typed)>, Error> {
        let builtin = Catalog::builtin().find(&named.group, &named.version, &named.resource);
        let (kind, object) = match builtin {
            Some(row) => (row.kind.to_string(), Decl::builtin(&Schemas::builtin(), &row.schema)),
            None => match self.custom(|names| names["plural"] == *named.resource, &named.group).await? {
                Some(definition) => (kind_of(&definition), declared(&definition, &named.version)),
                None => return Ok(None),
            },
        };
        let Some(object) = object else { return Ok(None) };
        let shown = format!("{}/{}, Kind={kind}", named.group, named.version);
        let order = [named.group.clone(), named.version.clone(), kind];
        Ok(Some((order, Typed { kind: shown, object })))
    }

    async fn of_params(&mut self, spec: &Value) -> Result<Option<Decl>, Error> {
        let Some(kind) = spec["paramKind"]["kind"].as_str() else { return Ok(None) };
        let api_version = spec["paramKind"]["apiVersion"].as_str().unwrap_or_default();
        if let Some(row) = Catalog::builtin().by_api_version(api_version, kind) {
            return Ok(Decl::builtin(&Schemas::builtin(), &row.schema));
        }
        let (group, version) = split_api_version(api_version);
        let definition = self.custom(|names| names["kind"] == kind, group).await?;
        Ok(definition.and_then(|definition| declared(&definition, version)))
    }

    /// The CustomResourceDefinition of a group with such names.
    async fn custom(&mut self, is: impl Fn(&Value) -> bool, group: &str) -> Result<Option<Value>, Error> {
        if self.custom.is_none() {
            let gvk = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
            let api: Api<DynamicObject> =
                Api::all_with(self.cx.informer.clone(), &ApiResource::from_gvk(&gvk));
            let all = api.list(&ListParams::default()).await?.items;
            self.custom = Some(all.into_iter().map(|definition| definition.data).collect());
        }
        let all = self.custom.iter().flatten();
        Ok(all.into_iter().find(|d| d["spec"]["group"] == group && is(&d["spec"]["names"])).cloned())
    }
}

fn kind_of(definition: &Value) -> String {
    definition["spec"]["names"]["kind"].as_str().unwrap_or_default().to_owned()
}

fn declared(definition: &Value, version: &str) -> Option<Decl> {
    let versions = definition["spec"]["versions"].as_array()?;
    let served = versions.iter().find(|v| v["name"] == version && v["served"] == true)?;
    let schema = Structural::read(&served["schema"]["openAPIV3Schema"]).ok()?;
    Decl::from_schema(&schema, &kind_of(definition), true)
}
