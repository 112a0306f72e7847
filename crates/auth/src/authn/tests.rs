//! Which credential wins, which is refused, and what is left of the headers.

use jiff::Timestamp;
use rustls_pki_types::pem::PemObject;
use serde_json::json;

use super::*;
use crate::pki::ServingNames;
use crate::testing::Objects;
use crate::tokens::{Config, Order, Ref};

struct World {
    pki: Pki,
    authenticator: Authenticator,
    clock: Clock,
    token: String,
}

async fn world(anonymous: bool) -> World {
    let clock = Clock::stepped(Timestamp::from_second(1_800_000_000).unwrap());
    let pki = Pki::memory(&ServingNames::default(), &clock).unwrap();
    let tokens = Arc::new(Tokens::new(Config::default(), pki.token_keys(), clock.clone()));
    let objects = Objects::default();
    objects.put("serviceaccounts", json!({"metadata": {"namespace": "ns", "name": "default", "uid": "u"}}));
    let order = Order {
        namespace: "ns".into(),
        service_account: Ref { name: "default".into(), uid: "u".into() },
        bound: None,
        audiences: vec![],
        expiration_seconds: 3600,
    };
    let token = tokens.issue(order).await.unwrap().token;
    let directory: Arc<dyn Directory> = Arc::new(objects);
    let authenticator = Authenticator::new(&pki, tokens, directory, clock.clone(), anonymous).unwrap();
    World { pki, authenticator, clock, token }
}

fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in list {
        map.append(*name, value.parse().unwrap());
    }
    map
}

impl World {
    fn who(&self, list: &[(&'static str, &str)], peer: &[CertificateDer<'static>]) -> Result<String, u16> {
        let mut headers = headers(list);
        let who =
            self.authenticator.authenticate(&mut headers, &Peer::new(peer.to_vec())).map_err(|s| s.code)?;
        assert!(!headers.contains_key(AUTHORIZATION) && !headers.contains_key("x-remote-user"));
        Ok(who.user.name.clone())
    }

    fn chain(&self, name: &str, groups: &[&str]) -> Vec<CertificateDer<'static>> {
        let pair = self.pki.client_pair(name, groups).unwrap();
        vec![CertificateDer::from_pem_slice(pair.certificate_pem.as_bytes()).unwrap()]
    }
}

const SA: &str = "system:serviceaccount:ns:default";
const ANON: &str = "system:anonymous";

#[tokio::test]
async fn bearer_tokens() {
    let world = world(true).await;
    let token = &world.token;
    for (value, who) in [
        (format!("Bearer {token}"), Ok(SA)),
        (format!("bearer {token}"), Ok(SA)),
        (format!("  BEARER {token} trailing"), Ok(SA)),
        (format!("Bearer  {token}"), Ok(ANON)),
        ("Bearer".to_owned(), Ok(ANON)),
        ("Basic YTpi".to_owned(), Ok(ANON)),
        (String::new(), Ok(ANON)),
        ("Bearer garbage".to_owned(), Err(401)),
        (format!("Bearer {token}x"), Err(401)),
    ] {
        let got = world.who(&[("authorization", &value), ("x-remote-user", "admin")], &[]);
        assert_eq!(got.as_deref(), who.as_deref(), "{value}");
    }
}

#[tokio::test]
async fn client_certificates() {
    let world = world(true).await;
    let chain = world.chain("jane", &["dev", "ops"]);
    let mut none = HeaderMap::new();
    let who = world.authenticator.authenticate(&mut none, &Peer::new(chain.to_vec())).unwrap();
    assert_eq!(who.user.groups, ["dev", "ops", "system:authenticated"]);
    let id = &who.user.extra["authentication.kubernetes.io/credential-id"][0];
    assert!(id.starts_with("X509SHA256=") && id.len() == 11 + 64, "{id}");
    let again = world.authenticator.authenticate(&mut none, &Peer::new(chain.to_vec())).unwrap();
    assert_eq!(who, again);

    let other = self::world(true).await;
    assert_eq!(world.who(&[], &other.chain("jane", &[])), Err(401), "another CA's");
    let bearer = format!("Bearer {}", world.token);
    assert_eq!(world.who(&[("authorization", &bearer)], &other.chain("jane", &[])).as_deref(), Ok(SA));
    assert_eq!(world.who(&[("authorization", "Bearer garbage")], &chain).as_deref(), Ok("jane"));
    assert_eq!(world.who(&[], &world.chain("", &["dev"])).as_deref(), Ok(ANON));
    world.clock.advance(std::time::Duration::from_secs(6 * 365 * 24 * 3600));
    assert_eq!(world.who(&[], &chain), Err(401), "expired though known");
}

#[tokio::test]
async fn websocket_tokens() {
    let world = world(true).await;
    let protocol = format!("{WEBSOCKET_BEARER}{}", URL_SAFE_NO_PAD.encode(&world.token));
    let socket = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];
    let both = format!("{protocol}, v5.channel.k8s.io");
    let with = |protocols: &str| {
        let mut list = headers(&socket);
        list.insert(SEC_WEBSOCKET_PROTOCOL, protocols.parse().unwrap());
        let who =
            world.authenticator.authenticate(&mut list, &Peer::new(Vec::new())).map(|w| w.user.name.clone());
        (who.map_err(|s| s.code), list[SEC_WEBSOCKET_PROTOCOL].to_str().unwrap().to_owned())
    };
    assert_eq!(with(&both), (Ok(SA.into()), "v5.channel.k8s.io".into()));
    assert_eq!(with(&protocol).0, Err(401));
    assert_eq!(with(&format!("{both}, {protocol}")).0, Err(401));
    assert_eq!(with("v5.channel.k8s.io").0, Ok(ANON.into()));
    let got = world.who(&[("sec-websocket-protocol", &both)], &[]);
    assert_eq!(got.as_deref(), Ok(ANON), "without an upgrade it is no WebSocket");
}

#[tokio::test]
async fn anonymous_may_be_switched_off() {
    let world = world(false).await;
    assert_eq!(world.who(&[], &[]), Err(401));
    assert_eq!(world.who(&[("authorization", &format!("Bearer {}", world.token))], &[]).as_deref(), Ok(SA));
}
