//! Each way a token is made, used, outlived, revoked or forged.

use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use std::time::Duration;

use base64::Engine;
use serde_json::json;

use super::*;
use crate::testing::Objects;

const START: i64 = 1_800_000_000;

struct World {
    tokens: Tokens,
    clock: Clock,
    objects: Objects,
}

fn world_with(config: Config) -> World {
    let clock = Clock::stepped(Timestamp::from_second(START).unwrap());
    let objects = Objects::default();
    let put = |resource: &str, namespace: &str, name: &str, uid: &str| {
        objects.put(resource, json!({"metadata": {"namespace": namespace, "name": name, "uid": uid}}));
    };
    put("serviceaccounts", "ns", "default", "sa-uid");
    put("pods", "ns", "p", "pod-uid");
    put("secrets", "ns", "s", "secret-uid");
    put("nodes", "", "n1", "node-uid");
    let tokens = Tokens::new(config, Arc::new(TokenKeys::memory()), clock.clone());
    World { tokens, clock, objects }
}

fn world() -> World {
    world_with(Config::default())
}

fn reference(name: &str, uid: &str) -> Ref {
    Ref { name: name.into(), uid: uid.into() }
}

fn pod() -> Option<Bound> {
    Some(Bound::Pod(reference("p", "pod-uid"), None))
}

impl World {
    async fn issue(&self, bound: Option<Bound>, audiences: &[&str], seconds: i64) -> Issued {
        let order = Order {
            namespace: "ns".into(),
            service_account: reference("default", "sa-uid"),
            bound,
            audiences: audiences.iter().map(|a| (*a).to_owned()).collect(),
            expiration_seconds: seconds,
        };
        self.tokens.issue(order).await.unwrap()
    }

    async fn token(&self, bound: Option<Bound>) -> String {
        self.issue(bound, &[], 3600).await.token
    }

    fn verify(&self, token: &str) -> Result<Verified, String> {
        self.tokens.verify(token, &[], &self.objects).map_err(|e| e.to_string())
    }

    fn refusal(&self, token: &str) -> String {
        self.verify(token).expect_err("refused")
    }
}

fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn claims_are_the_references() {
    let world = world();
    let issued = world.issue(None, &[], 3600).await;
    let mut claims = claims(&issued.token);
    assert_eq!(claims["jti"], json!(issued.jti));
    claims["jti"] = json!("x");
    assert_eq!(
        claims.to_string(),
        format!(
            "{{\"aud\":[\"{DEFAULT_ISSUER}\"],\"exp\":{},\"iat\":{START},\"iss\":\"{DEFAULT_ISSUER}\",\"jti\":\"x\",\
             \"kubernetes.io\":{{\"namespace\":\"ns\",\"serviceaccount\":{{\"name\":\"default\",\"uid\":\"sa-uid\"}}}},\
             \"nbf\":{START},\"sub\":\"system:serviceaccount:ns:default\"}}",
            START + 3600
        )
    );
    assert_eq!(issued.expires, START + 3600);
    let jwks = world.tokens.jwks().await.unwrap();
    let header: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(issued.token.split('.').next().unwrap()).unwrap())
            .unwrap();
    assert_eq!(header, json!({"alg": "RS256", "kid": jwks["keys"][0]["kid"]}));
    assert_eq!(jwks["keys"][0]["e"], "AQAB");
}

#[tokio::test]
async fn a_good_token_names_its_user() {
    let world = world();
    let bound = Some(Bound::Pod(reference("p", "pod-uid"), Some(reference("n1", "node-uid"))));
    let issued = world.issue(bound, &[], 3600).await;
    let verified = world.verify(&issued.token).unwrap();
    assert_eq!(verified.user.name, "system:serviceaccount:ns:default");
    assert_eq!(verified.user.uid, "sa-uid");
    assert_eq!(
        verified.user.groups,
        ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"]
    );
    let extra = |key: &str| verified.user.extra[&format!("authentication.kubernetes.io/{key}")][0].clone();
    assert_eq!(extra("credential-id"), format!("JTI={}", issued.jti));
    let rest = ["pod-name", "pod-uid", "node-name", "node-uid"].map(extra);
    assert_eq!(rest, ["p", "pod-uid", "n1", "node-uid"]);
    assert_eq!(verified.audiences, [DEFAULT_ISSUER]);
}

#[tokio::test]
async fn pod_tokens_of_3607_seconds_last_a_year() {
    let world = world();
    let issued = world.issue(pod(), &[], 3607).await;
    let got = claims(&issued.token);
    assert_eq!(got["exp"], json!(START + 31_536_000));
    assert_eq!(got["kubernetes.io"]["warnafter"], json!(START + 3607));
    assert_eq!(issued.expires, START + 3607);
    world.clock.advance(Duration::from_secs(3610));
    let verified = world.verify(&issued.token).unwrap();
    assert_eq!(
        verified.annotations,
        [(
            "authentication.k8s.io/stale-token",
            "subject: system:serviceaccount:ns:default, seconds after warning threshold: 3".to_owned()
        )]
    );
    for (bound, audiences, seconds) in
        [(None, &[][..], 3607), (pod(), &["vault"][..], 3607), (pod(), &[][..], 3608)]
    {
        let got = claims(&world.issue(bound, audiences, seconds).await.token);
        assert_eq!(got["exp"].as_i64().unwrap() - got["iat"].as_i64().unwrap(), seconds);
        assert!(got["kubernetes.io"].get("warnafter").is_none());
    }
    let strict = world_with(Config { extend: false, ..Config::default() });
    let got = claims(&strict.issue(pod(), &[], 3607).await.token);
    assert_eq!(got["exp"], json!(START + 3607));
}

#[tokio::test]
async fn lifetimes_are_cut_to_the_maximum() {
    let world = world_with(Config { max_expiration: Some(7200), ..Config::default() });
    let issued = world.issue(None, &[], 9000).await;
    assert_eq!((issued.expiration_seconds, issued.expires), (7200, START + 7200));
    assert_eq!(issued.warning.unwrap(), "requested expiration of 9000 seconds shortened to 7200 seconds");
}

#[tokio::test]
async fn audiences_must_meet() {
    let world = world();
    let token = world.issue(None, &["vault"], 3600).await.token;
    assert_eq!(
        world.refusal(&token),
        "[invalid bearer token, token audiences [\"vault\"] is invalid for the target audiences \
         [\"https://kubernetes.default.svc.cluster.local\"]]"
    );
    let asked = ["vault".to_owned(), "other".to_owned()];
    assert_eq!(world.tokens.verify(&token, &asked, &world.objects).unwrap().audiences, ["vault"]);
}

#[tokio::test]
async fn time_passes() {
    let world = world();
    let token = world.token(None).await;
    world.clock.advance(Duration::from_secs(3660));
    world.verify(&token).unwrap();
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.refusal(&token), "[invalid bearer token, service account token has expired]");
    let mut early = claims(&token);
    early["nbf"] = json!(START + 100_000);
    let early = world.tokens.keys.sign(&early).unwrap();
    assert_eq!(world.refusal(&early), "[invalid bearer token, service account token is not valid yet]");
}

#[tokio::test]
async fn row_15_revocation_is_immediate() {
    let world = world();
    let (plain, of_pod) = (world.token(None).await, world.token(pod()).await);
    let of_secret = world.token(Some(Bound::Secret(reference("s", "secret-uid")))).await;
    let of_node = world.token(Some(Bound::Node(reference("n1", "node-uid")))).await;
    let all = [&plain, &of_pod, &of_secret, &of_node];
    for token in all {
        world.verify(token).unwrap();
    }
    let remade = |resource: &str, namespace: &str, name: &str| {
        world.objects.put(
            resource,
            json!({"metadata": {"namespace": namespace, "name": name, "uid": "new"},"spec":{"serviceAccountName":"default"}}),
        );
    };
    let gone = "[invalid bearer token, service account token has been invalidated]";
    for (resource, namespace, name, token, words) in [
        ("pods", "ns", "p", &of_pod, "pod UID (new) does not match service account pod ref claim (pod-uid)"),
        (
            "secrets",
            "ns",
            "s",
            &of_secret,
            "secret UID (new) does not match service account secret ref claim (secret-uid)",
        ),
        (
            "nodes",
            "",
            "n1",
            &of_node,
            "node UID (new) does not match service account node ref claim (node-uid)",
        ),
    ] {
        remade(resource, namespace, name);
        assert_eq!(world.refusal(token), format!("[invalid bearer token, {words}]"));
        world.objects.remove(resource, namespace, name);
        assert_eq!(world.refusal(token), gone);
    }
    remade("serviceaccounts", "ns", "default");
    for token in all {
        let words = "service account UID (new) does not match claim (sa-uid)";
        assert_eq!(world.refusal(token), format!("[invalid bearer token, {words}]"));
    }
    world.objects.remove("serviceaccounts", "ns", "default");
    assert_eq!(world.refusal(&plain), "[invalid bearer token, serviceaccount \"default\" not found]");
}

#[tokio::test]
async fn a_terminating_pod_keeps_its_token_for_its_grace_and_a_minute() {
    let world = world();
    let token = world.token(pod()).await;
    let deletion = Timestamp::from_second(START + 30).unwrap().to_string();
    world.objects.put(
        "pods",
        json!({"metadata": {"namespace": "ns", "name": "p", "uid": "pod-uid", "deletionTimestamp": deletion}}),
    );
    world.clock.advance(Duration::from_secs(90));
    world.verify(&token).unwrap();
    world.clock.advance(Duration::from_secs(1));
    assert!(world.verify(&token).is_err());
}

#[tokio::test]
async fn row_14_forgeries_are_refused() {
    let world = world();
    let token = world.token(None).await;
    let parts: Vec<&str> = token.split('.').collect();
    let [header, body, signature] = parts[..] else { panic!() };
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let kid = world.tokens.jwks().await.unwrap()["keys"][0]["kid"].as_str().unwrap().to_owned();
    let twice = encode(&format!("{{\"alg\":\"none\",\"alg\":\"RS256\",\"kid\":\"{kid}\"}}"));
    let body_twice = encode(&claims(&token).to_string().replacen('{', "{\"sub\":\"x\",", 1));
    let crit = encode(&format!("{{\"alg\":\"RS256\",\"kid\":\"{kid}\",\"crit\":[\"x\"]}}"));
    let unknown = [
        String::new(),
        "garbage".into(),
        "a.b.c".into(),
        format!("{}.{body}.", encode("{\"alg\":\"none\"}")),
        format!("{}.{body}.{signature}", encode("{\"alg\":\"none\"}")),
        format!("{}.{body}.{signature}", encode(&format!("{{\"alg\":\"HS256\",\"kid\":\"{kid}\"}}"))),
        format!("{twice}.{body}.{signature}"),
        format!("{header}.{body_twice}.{signature}"),
        format!("{crit}.{body}.{signature}"),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}="),
        format!("{header}.{body}=.{signature}"),
        format!("{header}.{body}.{signature}.{signature}"),
        format!(" {token}"),
        format!("{header}.{body}.{signature}{}", "A".repeat(20_000)),
        // The last character of a signature has unused bits: another one must not pass for it.
        format!("{}{}", &token[..token.len() - 1], twin(token.chars().last().unwrap())),
    ];
    for forged in unknown {
        assert_eq!(world.refusal(&forged), "invalid bearer token", "{forged}");
    }
    let other = super::TokenKeys::memory();
    let foreign = other.sign(&claims(&token)).unwrap();
    assert_eq!(world.refusal(&foreign), "[invalid bearer token, invalid signature, no keys found]");
    let resigned = format!("{header}.{body}.{}", foreign.rsplit('.').next().unwrap());
    assert_eq!(
        world.refusal(&resigned),
        "[invalid bearer token, go-jose/go-jose: error in cryptographic primitive]"
    );
    let mut raised = claims(&token);
    raised["sub"] = json!("system:serviceaccount:kube-system:default");
    let raised = format!("{header}.{}.{signature}", encode(&raised.to_string()));
    assert!(world.refusal(&raised).contains("cryptographic primitive"));
    let mut alien = claims(&token);
    alien["iss"] = json!("https://elsewhere");
    let alien = world.tokens.keys.sign(&alien).unwrap();
    assert_eq!(world.refusal(&alien), "invalid bearer token");
}

/// The public key is public: who signs with it as with a secret must not pass for who has the private one.
#[tokio::test]
async fn row_14_the_public_key_is_no_secret() {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    let world = world();
    let token = world.token(None).await;
    let key = world.tokens.jwks().await.unwrap()["keys"][0].clone();
    let modulus = key["n"].as_str().unwrap();
    let secrets = [
        modulus.as_bytes().to_vec(),
        URL_SAFE_NO_PAD.decode(modulus).unwrap(),
        key.to_string().into_bytes(),
        Vec::new(),
    ];
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        for secret in &secrets {
            let mut header = Header::new(algorithm);
            header.kid = key["kid"].as_str().map(str::to_owned);
            let forged = encode(&header, &claims(&token), &EncodingKey::from_secret(secret)).unwrap();
            assert_eq!(world.refusal(&forged), "invalid bearer token", "{algorithm:?}");
        }
    }
}

/// Signed by the cluster's own key, and yet not good.
#[tokio::test]
async fn row_14_claims_must_be_there_and_be_true() {
    let world = world();
    let token = world.token(None).await;
    let changed = |key: &str, value: Value| {
        let mut all = claims(&token);
        match value {
            Value::Null => drop(all.as_object_mut().unwrap().remove(key)),
            value => all[key] = value,
        }
        world.tokens.keys.sign(&all).unwrap()
    };
    let bad = [
        ("aud", json!(["https://elsewhere"])),
        ("aud", json!({"a": "b"})),
        // A minute is left to clocks that differ.
        ("exp", json!(START - 61)),
        ("exp", json!("never")),
        ("nbf", json!(START + 3600)),
        ("iss", Value::Null),
        ("iss", json!([])),
        ("kubernetes.io", Value::Null),
        (
            "kubernetes.io",
            json!({"namespace": "ns", "serviceaccount": {"name": "default", "uid": "another"}}),
        ),
        (
            "kubernetes.io",
            json!({"namespace": "other", "serviceaccount": {"name": "default", "uid": "sa-uid"}}),
        ),
    ];
    for (key, value) in bad {
        let shown = format!("{key}: {value}");
        assert!(world.verify(&changed(key, value)).is_err(), "{shown}");
    }
    world.verify(&changed("x", json!("y"))).unwrap();
}

#[tokio::test]
async fn row_14_keys_are_not_chosen_by_their_name_alone() {
    let world = world();
    let token = world.token(None).await;
    let parts: Vec<&str> = token.split('.').collect();
    let foreign = super::TokenKeys::memory().sign(&claims(&token)).unwrap();
    let theirs: Vec<&str> = foreign.split('.').collect();
    // Our key's name over their signature, and theirs over ours.
    for (header, signature) in [(parts[0], theirs[2]), (theirs[0], parts[2])] {
        assert!(world.verify(&format!("{header}.{}.{signature}", parts[1])).is_err());
    }
    for kid in ["../../etc/passwd", "' OR 1=1", "", "\\u0000"] {
        let header = URL_SAFE_NO_PAD.encode(format!("{{\"alg\":\"RS256\",\"kid\":\"{kid}\"}}"));
        assert!(world.verify(&format!("{header}.{}.{}", parts[1], theirs[2])).is_err(), "{kid}");
    }
    // A key that comes along is nobody's.
    let jwk = URL_SAFE_NO_PAD.encode(format!(
        "{{\"alg\":\"RS256\",\"jku\":\"https://elsewhere\",\"jwk\":{}}}",
        world.tokens.jwks().await.unwrap()["keys"][0]
    ));
    assert!(world.verify(&format!("{jwk}.{}.{}", parts[1], theirs[2])).is_err());
}

#[tokio::test]
async fn row_14_a_huge_token_is_refused_at_once() {
    let world = world();
    let token = world.token(None).await;
    let mut huge = claims(&token);
    huge["x"] = json!("y".repeat(4 << 20));
    let foreign = super::TokenKeys::memory().sign(&huge).unwrap();
    let deep = URL_SAFE_NO_PAD.encode("[".repeat(1 << 20));
    let dots = ".".repeat(1 << 20);
    for token in [foreign, format!("{deep}.{deep}.x"), dots, "a".repeat(8 << 20)] {
        let began = Clock::system().elapsed();
        assert!(world.verify(&token).is_err());
        // A debug build reads some ten megabytes a second.
        assert!(Clock::system().elapsed().saturating_sub(began) < Duration::from_secs(5));
    }
}

/// Another base64 character with the same significant bits, where 256 bytes leave four unused.
fn twin(c: char) -> char {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    alphabet.chars().nth(alphabet.find(c).unwrap() ^ 1).unwrap()
}

#[tokio::test]
async fn legacy_tokens_live_by_their_secret() {
    let world = world();
    let token = world.tokens.issue_legacy("ns", &reference("default", "sa-uid"), "legacy").await.unwrap();
    assert_eq!(world.refusal(&token), "[invalid bearer token, Token has been invalidated]");
    let secret = |data: &str, labels: Value| json!({"metadata": {"namespace": "ns", "name": "legacy", "labels": labels}, "data": {"token": STANDARD.encode(data)}});
    world.objects.put("secrets", secret("other", json!({})));
    assert_eq!(world.refusal(&token), "[invalid bearer token, Token does not match server's copy]");
    world.objects.put("secrets", secret(&token, json!({})));
    let verified = world.verify(&token).unwrap();
    assert_eq!(verified.user.uid, "sa-uid");
    assert!(verified.user.extra.is_empty());
    assert_eq!(verified.legacy_secret, Some(("ns".into(), "legacy".into())));
    let invalid = json!({"kubernetes.io/legacy-token-invalid-since": "2027-01-01"});
    world.objects.put("secrets", secret(&token, invalid));
    assert!(world.refusal(&token).contains("has been marked invalid"));
}

#[tokio::test]
async fn the_cache_is_bounded() {
    let cache = Cache::default();
    let claims = || Arc::new(claims::Claims::parse(serde_json::Map::new(), true).unwrap());
    for i in 0..5000 {
        cache.put(Cache::key(&i.to_string()), claims());
        cache.put(Cache::key(&i.to_string()), claims());
    }
    assert_eq!(cache.len(), 4096);
    assert!(cache.get(&Cache::key("0")).is_none() && cache.get(&Cache::key("4999")).is_some());
}

#[test]
fn requests_are_bounded() {
    let check = |seconds: i64| {
        validate_request(&json!({"spec": {"expirationSeconds": seconds}})).map_err(|s| s.message)
    };
    assert_eq!(
        check(599).unwrap_err(),
        "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 599: may not \
         specify a duration less than 10 minutes"
    );
    assert_eq!(
        check(8_589_934_592).unwrap_err(),
        "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 8589934592: may \
         not specify a duration larger than 2^32 seconds"
    );
    assert!(check(600).is_ok() && check(1 << 32).is_ok());
    let config_map =
        json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "ConfigMap", "name": "c"}}});
    assert_eq!(
        bound_object(&config_map).unwrap_err().message,
        "cannot bind token to object of type /v1, Kind=ConfigMap"
    );
    let pod =
        json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}}});
    let binding = bound_object(&pod).unwrap().unwrap();
    assert_eq!(
        binding.check_uid("other").unwrap_err().message,
        "Operation cannot be fulfilled on Pod \"p\": the UID in the bound object reference (u) does not match the UID \
         in record. The object might have been deleted and then recreated"
    );
    let running = json!({"spec": {"serviceAccountName": "default"}});
    assert_eq!(
        binding.check_pod_account(&running, "other").unwrap_err().message,
        "cannot bind token for serviceaccount \"other\" to pod running with different serviceaccount name."
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: mangled(), failure_persistence: None, ..Default::default() })]

    /// No change of a token's text is good, whatever it hits.
    #[test]
    fn row_14_mangled_tokens_are_refused(at in 0usize..2000, with in proptest::prelude::any::<char>(), insert in proptest::prelude::any::<bool>()) {
        let (world, token) = mangling();
        let at = at % token.len();
        let mut mangled = token.clone();
        let end = if insert { at } else { at + 1 };
        mangled.replace_range(at..end, &with.to_string());
        if mangled != *token {
            proptest::prop_assert!(world.verify(&mangled).is_err(), "{}", mangled);
        }
        proptest::prop_assert!(world.verify(token).is_ok());
    }
}

/// So many on every day, so many where `CORACLE_FULL` asks for the whole.
fn mangled() -> u32 {
    if std::env::var_os("CORACLE_FULL").is_some() { 1_000_000 } else { 400 }
}

/// One key for all cases: making it takes longer than the cases.
fn mangling() -> &'static (World, String) {
    static WORLD: std::sync::OnceLock<(World, String)> = std::sync::OnceLock::new();
    WORLD.get_or_init(|| {
        let world = world();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let token = runtime.block_on(world.token(None));
        (world, token)
    })
}
