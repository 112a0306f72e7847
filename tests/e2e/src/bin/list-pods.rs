//! A program as users write it with `kube`, run inside of a Pod: lists Pods again and again with nothing configured.
//!
//! Prints `PodList NAMES` or `STATUS-CODE MESSAGE` a round, and takes the number of rounds as its argument.

#![forbid(unsafe_code)]

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rounds: u32 = std::env::args().nth(1).as_deref().unwrap_or("1").parse()?;
    // Another provider may be linked in by a feature of another crate of the workspace: choose, do not guess.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let pods: Api<Pod> = Api::default_namespaced(Client::try_default().await?);
    for _ in 0..rounds {
        match pods.list(&Default::default()).await {
            Ok(list) => {
                println!("PodList {}", list.iter().map(ResourceExt::name_any).collect::<Vec<_>>().join(" "))
            }
            Err(kube::Error::Api(status)) => println!("{} {}", status.code, status.message),
            Err(error) => return Err(error.into()),
        }
        if rounds > 1 {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    Ok(())
}
