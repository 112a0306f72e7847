//! Pods and Services on a kernel.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use coracle_net::Network;
use coracle_net::proxy::Protocol::{Tcp, Udp};
use coracle_net::proxy::ServicePort;

use crate::netns::{ask, ask_udp, at, config, ip, machine, output, outside, pod, serve, service, traces};

#[test]
fn root_pods_reach_each_other_the_host_and_the_world() {
    machine(|| async {
        let world = outside();
        world.serve("world", 7000);
        let network = Network::start(config("t")).await.unwrap();
        let (a, a_ip) = pod(&network, "a").await;
        let (b, b_ip) = pod(&network, "b").await;
        assert_eq!(a.ask(at(b_ip, 8080)), Ok(format!("b from {a_ip}")));
        assert_eq!(b.ask(at(a_ip, 8080)), Ok(format!("a from {b_ip}")));
        assert_eq!(a.ask(at([127, 0, 0, 1], 8080)), Ok("a from 127.0.0.1".into()));
        serve("host", 9000);
        assert_eq!(a.ask(at(network.gateway(), 9000)), Ok(format!("host from {a_ip}")));
        assert_eq!(ask(at(b_ip, 8080)), Ok(format!("b from {}", network.gateway())));
        // The world sees the machine, not the Pod.
        assert_eq!(a.ask(at([192, 0, 2, 1], 7000)), Ok("world from 192.0.2.2".into()));
        network.stop().await.unwrap();
    });
}

#[test]
fn root_the_machine_may_change_its_network() {
    machine(|| async {
        let network = Network::start(config("t")).await.unwrap();
        let (a, _) = pod(&network, "a").await;
        let world = outside();
        world.serve("world", 7000);
        let before = forwarded();
        network.refresh().await.unwrap();
        network.refresh().await.unwrap();
        assert_eq!(a.ask(at([192, 0, 2, 1], 7000)), Ok("world from 192.0.2.2".into()));
        assert_ne!(forwarded(), before);
        network.stop().await.unwrap();
        assert_eq!(forwarded(), "0");
    });
}

#[test]
fn root_a_machine_with_docker_lets_pods_through() {
    machine(|| async {
        let world = outside();
        world.serve("world", 7000);
        for command in [
            "add table ip filter",
            "add chain ip filter FORWARD { type filter hook forward priority 0 ; policy drop ; }",
            "add rule ip filter FORWARD iifname docker0 accept",
        ] {
            output("nft", command);
        }
        let before = traces();
        let one = Network::start(config("t")).await.unwrap();
        let two = Network::start(config("t2")).await.unwrap();
        one.refresh().await.unwrap();
        let (a, a_ip) = pod(&one, "a").await;
        let (_b, b_ip) = pod(&one, "b").await;
        one.program(&[service(7, Tcp, &[b_ip])]).await.unwrap();
        two.stop().await.unwrap();
        assert_eq!(a.ask(at(b_ip, 8080)), Ok(format!("b from {a_ip}")));
        assert_eq!(a.ask(at([192, 0, 2, 1], 7000)), Ok("world from 192.0.2.2".into()));
        assert_eq!(world.ask(at([192, 0, 2, 2], 30007)), Ok("b from 192.0.2.1".into()));
        one.stop().await.unwrap();
        assert_eq!(traces(), before);
    });
}

fn forwarded() -> String {
    std::fs::read_to_string("/proc/sys/net/ipv4/conf/uplink/forwarding").unwrap().trim().to_owned()
}

#[test]
fn root_a_service_may_lead_to_the_machine_itself() {
    machine(|| async {
        let _world = outside();
        let network = Network::start(config("t")).await.unwrap();
        let (a, a_ip) = pod(&network, "a").await;
        // As the Service kubernetes leads to the API server.
        serve("host", 8080);
        network.program(&[service(1, Tcp, &[network.gateway()])]).await.unwrap();
        assert_eq!(a.ask(at([10, 96, 0, 1], 80)), Ok(format!("host from {a_ip}")));
        assert!(ask(at([10, 96, 0, 1], 80)).unwrap().starts_with("host from "));
        network.stop().await.unwrap();
    });
}

#[test]
fn root_services_lead_to_their_endpoints() {
    machine(|| async {
        let world = outside();
        let network = Network::start(config("t")).await.unwrap();
        let (a, a_ip) = pod(&network, "a").await;
        let (_b, b_ip) = pod(&network, "b").await;
        let ports = [service(7, Tcp, &[b_ip]), service(8, Tcp, &[a_ip]), service(7, Udp, &[b_ip])];
        network.program(&ports).await.unwrap();
        assert_eq!(
            a.ask(at([10, 96, 0, 7], 80)),
            Ok(format!("b from {a_ip}")),
            "the client's address is kept"
        );
        assert_eq!(a.ask_udp(at([10, 96, 0, 7], 80)), Ok(format!("b from {a_ip}")));
        let to_itself = a.ask(at([10, 96, 0, 8], 80));
        assert_eq!(to_itself, Ok(format!("a from {}", network.gateway())));
        assert!(ask(at([10, 96, 0, 7], 80)).unwrap().starts_with("b from "), "the host reaches Services");
        assert!(ask_udp(at([10, 96, 0, 7], 80)).unwrap().starts_with("b from "));
        // Node ports, from the machine, from a Pod and from the world.
        assert_eq!(ask(at([192, 0, 2, 2], 30007)), Ok("b from 192.0.2.2".into()));
        assert_eq!(a.ask(at([192, 0, 2, 2], 30007)), Ok(format!("b from {a_ip}")));
        assert_eq!(world.ask(at([192, 0, 2, 2], 30007)), Ok("b from 192.0.2.1".into()));
        network.stop().await.unwrap();
    });
}

#[test]
fn root_what_no_endpoint_serves_is_refused_at_once() {
    machine(|| async {
        let network = Network::start(config("t")).await.unwrap();
        let (a, _) = pod(&network, "a").await;
        let (b, b_ip) = pod(&network, "b").await;
        network.program(&[service(7, Tcp, &[b_ip]), service(9, Tcp, &[])]).await.unwrap();
        // More often than the kernel sends ICMP errors.
        for (n, port) in [(9, 80), (7, 81), (200, 80)].into_iter().cycle().take(30) {
            assert_eq!(a.ask(at([10, 96, 0, n], port)), Err(ErrorKind::ConnectionRefused), "{n}:{port}");
            assert_eq!(
                ask(at([10, 96, 0, n], port)),
                Err(ErrorKind::ConnectionRefused),
                "{n}:{port} from the host"
            );
        }
        assert!(a.ask(at([10, 96, 0, 7], 80)).is_ok());
        network.program(&[service(7, Tcp, &[])]).await.unwrap();
        assert_eq!(a.ask(at([10, 96, 0, 7], 80)), Err(ErrorKind::ConnectionRefused), "its endpoint has gone");
        drop(b);
        network.stop().await.unwrap();
    });
}

#[test]
fn root_several_endpoints_share_the_work_unless_clients_stick() {
    machine(|| async {
        let network = Network::start(config("t")).await.unwrap();
        let (a, _) = pod(&network, "a").await;
        let (_b, b_ip) = pod(&network, "b").await;
        let (_c, c_ip) = pod(&network, "c").await;
        let sticky = ServicePort { sticky: true, ..service(8, Tcp, &[b_ip, c_ip]) };
        network.program(&[service(7, Tcp, &[b_ip, c_ip]), sticky]).await.unwrap();
        let answers =
            |n: u8| -> BTreeSet<_> { (0..30).map(|_| a.ask(at([10, 96, 0, n], 80)).unwrap()).collect() };
        assert_eq!((answers(7).len(), answers(8).len()), (2, 1));
        network.stop().await.unwrap();
    });
}

#[test]
fn root_stopping_leaves_no_trace() {
    machine(|| async {
        let _world = outside();
        let before = traces();
        let network = Network::start(config("t")).await.unwrap();
        let (a, _) = pod(&network, "a").await;
        network.detach("a").await.unwrap();
        network.detach("a").await.unwrap();
        let (_b, _) = pod(&network, "b").await;
        drop(a);
        assert_ne!(traces(), before);
        network.stop().await.unwrap();
        assert_eq!(traces(), before);
        network.stop().await.unwrap();
    });
}

#[test]
fn root_a_killed_run_is_swept() {
    machine(|| async {
        let _world = outside();
        let before = traces();
        let network = Network::start(config("t")).await.unwrap();
        let (_a, _) = pod(&network, "a").await;
        let (_b, _) = pod(&network, "b").await;
        drop(network);
        Network::sweep("t", &["a"], &config("t").clock).await.unwrap();
        assert_eq!(ip("-o link").matches("coracle sandbox").count(), 1, "a is running");
        Network::sweep("t", &[], &config("t").clock).await.unwrap();
        assert_eq!(traces(), before);
    });
}

#[test]
fn root_pods_keep_their_addresses_when_the_agent_restarts() {
    machine(|| async {
        let dir = tempfile::tempdir().unwrap();
        let config = || coracle_net::Config { state_dir: Some(dir.path().join("net")), ..config("t") };
        let network = Network::start(config()).await.unwrap();
        let (a, a_ip) = pod(&network, "a").await;
        let (_b, b_ip) = pod(&network, "b").await;
        let gateway = network.gateway();
        drop(network);
        let network = Network::start(config()).await.unwrap();
        assert_eq!(network.gateway(), gateway);
        network.adopt("a", a_ip.into()).unwrap();
        assert_eq!(a.ask(at(b_ip, 8080)), Ok(format!("b from {a_ip}")), "Pods have not noticed");
        network.keep_only(&["a"]).await.unwrap();
        assert!(a.ask(at(b_ip, 8080)).is_err());
        let (_c, c_ip) = pod(&network, "c").await;
        assert_ne!(c_ip, a_ip);
        assert_eq!(a.ask(at(c_ip, 8080)), Ok(format!("c from {a_ip}")));
        network.stop().await.unwrap();
    });
}

#[test]
fn root_clusters_share_a_machine() {
    machine(|| async {
        let world = outside();
        world.serve("world", 7000);
        let before = traces();
        let one = Network::start(config("one")).await.unwrap();
        let two = Network::start(config("two")).await.unwrap();
        assert!(!one.pod_cidr().overlaps(two.pod_cidr()));
        let (a, a_ip) = pod(&one, "a").await;
        let (b, b_ip) = pod(&two, "a").await;
        one.program(&[service(7, Tcp, &[a_ip])]).await.unwrap();
        two.program(&[service(7, Tcp, &[b_ip])]).await.unwrap();
        assert_eq!(a.ask(at([10, 96, 0, 7], 80)), Ok(format!("a from {}", one.gateway())));
        assert_eq!(b.ask(at([10, 96, 0, 7], 80)), Ok(format!("a from {}", two.gateway())));
        one.stop().await.unwrap();
        assert_eq!(b.ask(at([192, 0, 2, 1], 7000)), Ok("world from 192.0.2.2".into()), "still forwarded");
        two.stop().await.unwrap();
        assert_eq!(traces(), before);
    });
}

#[test]
fn root_attaching_again_starts_over_with_the_same_address() {
    machine(|| async {
        let network = Network::start(config("t")).await.unwrap();
        let (a, a_ip) = pod(&network, "a").await;
        let again = network.attach("a", &a.netns).await.unwrap();
        assert_eq!(again.ip, a_ip);
        assert_eq!(ask(at(a_ip, 8080)), Ok(format!("a from {}", network.gateway())));
        network.stop().await.unwrap();
    });
}
