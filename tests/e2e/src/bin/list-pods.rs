//! A program as users write it with `kube`: lists the Pods of its namespace, with nothing configured.
//!
//! Lists once for every line of standard input and says `PodList NAMES` or `CODE MESSAGE`.

#![forbid(unsafe_code)]

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Another provider may be linked in by a feature of another crate of the workspace: choose, do not guess.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let pods: Api<Pod> = Api::default_namespaced(Client::try_default().await?);
    let mut lines = BufReader::new(stdin()).lines();
    while lines.next_line().await?.is_some() {
        match pods.list(&Default::default()).await {
            Ok(list) => {
                println!("PodList {}", list.iter().map(ResourceExt::name_any).collect::<Vec<_>>().join(" "))
            }
            Err(kube::Error::Api(status)) => println!("{} {}", status.code, status.message),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
