//! ConfigMap `kube-root-ca.crt` in every namespace: made, remade when deleted, put right when edited.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};

use crate::service_account::is_active;
use crate::work::{self, Next};
use crate::{Context, Error};

const NAME: &str = "kube-root-ca.crt";
const KEY: &str = "ca.crt";
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal \
     service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.",
);

pub(crate) async fn run(cx: Context) -> Result<(), Error> {
    cx.informers.namespaces.listed().await;
    let namespaces = cx.informers.namespaces.changes().map(|change| change.key().name);
    let maps = work::changes(
        Api::<ConfigMap>::all(cx.informer.clone()),
        watcher::Config::default().fields("metadata.name=kube-root-ca.crt"),
    )
    .map(|c| c.object().namespace().unwrap_or_default());
    let triggers = stream::select(namespaces, maps).boxed();
    work::reconcile_all(triggers, &cx.clock, |namespace| reconcile(&cx, namespace)).await
}

async fn reconcile(cx: &Context, namespace: String) -> Result<Next, Error> {
    if !is_active(cx, &namespace) {
        return Ok(Next::Wait);
    }
    let maps: Api<ConfigMap> = Api::namespaced(cx.client.clone(), &namespace);
    let live = work::read(&Api::<ConfigMap>::namespaced(cx.informer.clone(), &namespace), NAME).await?;
    match plan(live, &cx.config.root_ca) {
        Step::Nothing => {}
        Step::Create(map) => match maps.create(&PostParams::default(), &map).await {
            Err(e) if crate::api_code(&e) == Some(409) => {}
            other => drop(other?),
        },
        Step::Replace(map) => drop(maps.replace(NAME, &PostParams::default(), &map).await?),
    }
    Ok(Next::Wait)
}

#[derive(Debug, PartialEq)]
enum Step {
    Nothing,
    Create(ConfigMap),
    Replace(ConfigMap),
}

fn plan(live: Option<ConfigMap>, root_ca: &str) -> Step {
    let data = BTreeMap::from([(KEY.to_owned(), root_ca.to_owned())]);
    let description = (DESCRIPTION.0.to_owned(), DESCRIPTION.1.to_owned());
    let Some(mut map) = live else {
        return Step::Create(ConfigMap {
            metadata: ObjectMeta {
                name: Some(NAME.into()),
                annotations: Some(BTreeMap::from([description])),
                ..ObjectMeta::default()
            },
            data: Some(data),
            ..ConfigMap::default()
        });
    };
    let described = map.annotations().get(DESCRIPTION.0).is_some_and(|text| text == DESCRIPTION.1);
    if map.data.as_ref() == Some(&data) && described {
        return Step::Nothing;
    }
    map.data = Some(data);
    map.annotations_mut().insert(description.0, description.1);
    Step::Replace(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_map_is_made_an_edited_one_put_right_and_a_good_one_left_alone() {
        let Step::Create(made) = plan(None, "PEM") else { panic!("not created") };
        assert_eq!(plan(Some(made.clone()), "PEM"), Step::Nothing);
        let mut edited = made.clone();
        edited.data = None;
        assert_eq!(plan(Some(edited), "PEM"), Step::Replace(made));
    }
}
