//! From a question to an answer, by the DNS specification of Kubernetes. Pure.

use std::net::Ipv4Addr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::records::{Entry, Port, Records};

/// The version of the specification, which `dns-version` tells.
const VERSION: &str = "1.1.0";
/// How many seconds an answer holds: what it says may change at any time, and asking again is one hop away.
const TTL: u32 = 5;

#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub code: ResponseCode,
    pub answers: Vec<Record>,
    pub additionals: Vec<Record>,
    /// Tells how long a negative answer holds.
    pub soa: Option<Record>,
    /// The name whose records complete the answer: where an alias leads.
    pub follow: Option<Name>,
}

/// What the cluster says to a question; `None` if the name is none of the cluster's.
pub fn answer(records: &Records, name: &Name, kind: RecordType) -> Option<Reply> {
    let name = name.to_lowercase();
    if records.zone.domain.zone_of(&name) {
        let own = usize::from(name.num_labels() - records.zone.domain.num_labels());
        let labels: Vec<_> = name.iter().take(own).map(String::from_utf8_lossy).collect();
        let labels: Vec<_> = labels.iter().map(AsRef::as_ref).collect();
        return Some(Question { records, name: &name, kind }.within_zone(&labels));
    }
    Question { records, name: &name, kind }.pointer(reverse(&name)?)
}

/// The address that a name under `in-addr.arpa` is about.
fn reverse(name: &Name) -> Option<Ipv4Addr> {
    let text = name.to_ascii();
    let mut octets = text.strip_suffix(".in-addr.arpa.")?.rsplit('.').map(|octet| octet.parse::<u8>().ok());
    let ip = [octets.next()??, octets.next()??, octets.next()??, octets.next()??];
    octets.next().is_none().then_some(Ipv4Addr::from(ip))
}

struct Question<'a> {
    records: &'a Records,
    name: &'a Name,
    kind: RecordType,
}

impl Question<'_> {
    fn within_zone(&self, labels: &[&str]) -> Reply {
        match *labels {
            [] => self.apex(),
            ["dns-version"] => self.found(vec![RData::TXT(TXT::new(vec![VERSION.to_owned()]))]),
            ["ns", "dns"] => self.found(vec![a(self.records.zone.dns_ip)]),
            ["svc" | "pod" | "dns"] => self.found(vec![]),
            [namespace, "svc" | "pod"] if self.records.has_namespace(namespace) => self.found(vec![]),
            [ip, _, "pod"] => match ip.replace('-', ".").parse() {
                Ok(ip) => self.found(vec![a(ip)]),
                Err(_) => self.missing(),
            },
            [name, namespace, "svc"] => self.of_service(namespace, name, Question::whole),
            [label, name, namespace, "svc"] => {
                self.of_service(namespace, name, |question, entry| question.part(entry, label))
            }
            [port, protocol, name, namespace, "svc"] => {
                self.of_service(namespace, name, |q, entry| q.port(entry, port, protocol, name, namespace))
            }
            _ => self.missing(),
        }
    }

    fn of_service(&self, namespace: &str, name: &str, tell: impl FnOnce(&Self, &Entry) -> Reply) -> Reply {
        self.records.service(namespace, name).map_or_else(|| self.missing(), |entry| tell(self, entry))
    }

    fn apex(&self) -> Reply {
        self.found(vec![RData::SOA(self.start_of_authority()), RData::NS(NS(self.absolute("ns.dns")))])
    }

    /// `service.namespace.svc`.
    fn whole(&self, entry: &Entry) -> Reply {
        if let Some(target) = &entry.alias {
            return match Name::from_ascii(target) {
                Ok(mut target) => {
                    target.set_fqdn(true);
                    self.alias(target)
                }
                Err(_) => self.missing(),
            };
        }
        let headless = entry.cluster_ips.is_empty();
        let mut ips: Vec<_> =
            if headless { entry.endpoints.iter().map(|m| m.ip).collect() } else { entry.cluster_ips.clone() };
        ips.dedup();
        // By the specification a headless Service without ready endpoints does not exist.
        if ips.is_empty() { self.missing() } else { self.found(ips.into_iter().map(a).collect()) }
    }

    /// `hostname.service.namespace.svc`, or the empty place `_tcp.service.namespace.svc`.
    fn part(&self, entry: &Entry, label: &str) -> Reply {
        if let Some(protocol) = label.strip_prefix('_') {
            let known = ports(entry).any(|(port, _)| port.protocol == protocol);
            return if known { self.found(vec![]) } else { self.missing() };
        }
        let ips: Vec<_> = entry.endpoints.iter().filter(|m| m.label == label).map(|m| a(m.ip)).collect();
        if ips.is_empty() { self.missing() } else { self.found(ips) }
    }

    /// `_port._protocol.service.namespace.svc`.
    fn port(&self, entry: &Entry, port: &str, protocol: &str, name: &str, namespace: &str) -> Reply {
        let (Some(port), Some(protocol)) = (port.strip_prefix('_'), protocol.strip_prefix('_')) else {
            return self.missing();
        };
        let service = format!("{name}.{namespace}.svc");
        let mut targets = Vec::new();
        let mut additionals = Vec::new();
        for (found, member) in ports(entry).filter(|(p, _)| p.name == port && p.protocol == protocol) {
            let (target, ips) = match member {
                None => (self.absolute(&service), entry.cluster_ips.clone()),
                Some((label, ip)) => (self.absolute(&format!("{label}.{service}")), vec![ip]),
            };
            // Priority and weight as the specification shows them.
            targets.push(RData::SRV(SRV::new(0, 100, found.number, target.clone())));
            additionals.extend(ips.into_iter().map(|ip| Record::from_rdata(target.clone(), TTL, a(ip))));
        }
        if targets.is_empty() {
            return self.missing();
        }
        let mut reply = self.found(targets);
        if !reply.answers.is_empty() {
            reply.additionals = additionals;
        }
        reply
    }

    fn pointer(&self, ip: Ipv4Addr) -> Option<Reply> {
        let names: Vec<_> =
            self.records.names_of(ip).map(|name| RData::PTR(PTR(self.absolute(name)))).collect();
        if !names.is_empty() {
            return Some(self.found(names));
        }
        self.records.zone.ranges.iter().any(|range| range.contains(ip)).then(|| self.missing())
    }

    fn alias(&self, target: Name) -> Reply {
        let record = Record::from_rdata(self.name.clone(), TTL, RData::CNAME(CNAME(target.clone())));
        let follow = (self.kind != RecordType::CNAME).then_some(target);
        Reply { answers: vec![record], follow, ..self.empty(ResponseCode::NoError) }
    }

    /// The name exists and has these records; those of the wanted kind are told.
    fn found(&self, all: Vec<RData>) -> Reply {
        let wanted =
            all.into_iter().filter(|data| self.kind == RecordType::ANY || data.record_type() == self.kind);
        let answers: Vec<_> = wanted.map(|data| Record::from_rdata(self.name.clone(), TTL, data)).collect();
        let soa = answers.is_empty().then(|| self.soa());
        Reply { answers, soa, ..self.empty(ResponseCode::NoError) }
    }

    fn missing(&self) -> Reply {
        Reply { soa: Some(self.soa()), ..self.empty(ResponseCode::NXDomain) }
    }

    fn empty(&self, code: ResponseCode) -> Reply {
        Reply { code, answers: vec![], additionals: vec![], soa: None, follow: None }
    }

    fn soa(&self) -> Record {
        Record::from_rdata(self.records.zone.domain.clone(), TTL, RData::SOA(self.start_of_authority()))
    }

    fn start_of_authority(&self) -> SOA {
        // Refresh, retry and expiry are for secondary servers, of which there are none: CoreDNS's values.
        let (refresh, retry, expire) = (7200, 1800, 86400);
        let (server, mail) = (self.absolute("ns.dns"), self.absolute("hostmaster"));
        SOA::new(server, mail, self.records.serial, refresh, retry, expire, TTL)
    }

    /// A name of the zone. One that is too long to be a name cannot have been asked for either.
    fn absolute(&self, relative: &str) -> Name {
        Name::from_ascii(relative)
            .and_then(|name| name.append_domain(&self.records.zone.domain))
            .unwrap_or_else(|_| self.records.zone.domain.clone())
    }
}

fn a(ip: Ipv4Addr) -> RData {
    RData::A(A(ip))
}

/// The ports of a Service: its own if it has an address, else those of its endpoints with label and address.
fn ports(entry: &Entry) -> impl Iterator<Item = (&Port, Option<(&str, Ipv4Addr)>)> {
    let headless = entry.cluster_ips.is_empty();
    let own = entry.ports.iter().filter(move |_| !headless).map(|port| (port, None));
    let members = entry.endpoints.iter().filter(move |_| headless);
    own.chain(members.flat_map(|m| m.ports.iter().map(|port| (port, Some((m.label.as_str(), m.ip))))))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;
    use crate::dns::Zone;
    use crate::proxy::fixtures::{service, slice};

    fn records() -> Records {
        let services = [
            service(
                "web",
                json!({"clusterIP": "10.96.0.7", "ports": [
                {"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]}),
            ),
            service("db", json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]})),
            service("idle", json!({"clusterIP": "None", "ports": [{"port": 1}]})),
            service("far", json!({"type": "ExternalName", "externalName": "example.com"})),
        ];
        let sql = json!([{"name": "sql", "port": 5432, "protocol": "TCP"}]);
        let slices = [
            slice(
                "db",
                sql,
                json!([
                {"addresses": ["10.244.0.3"], "hostname": "db-1"},
                {"addresses": ["10.244.0.2"], "hostname": "db-0"},
                {"addresses": ["10.244.0.4"]},
                {"addresses": ["10.244.0.5"], "hostname": "db-2", "conditions": {"ready": false}}]),
            ),
            slice("web", json!([{"name": "http", "port": 8080}]), json!([{"addresses": ["10.244.0.9"]}])),
        ];
        let zone = Zone {
            domain: Name::from_ascii("cluster.local.").unwrap(),
            dns_ip: [10, 96, 0, 10].into(),
            ranges: vec!["10.96.0.0/12".parse().unwrap(), "10.244.0.0/16".parse().unwrap()],
        };
        let (services, slices): (Vec<_>, Vec<_>) = (services.iter().collect(), slices.iter().collect());
        Records::new(zone, 7, &services, &slices)
    }

    /// Questions as `TYPE name`, one a line, under `cluster.local.` unless they end in a dot.
    fn check(questions: &str, expected: Expect) {
        let records = records();
        let mut told = String::new();
        for question in questions.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (kind, name) = question.split_once(' ').unwrap();
            let name = if name.ends_with('.') { name.to_owned() } else { format!("{name}.cluster.local.") };
            let answer = answer(&records, &Name::from_ascii(name).unwrap(), kind.parse().unwrap());
            told += &format!("{question}: {}\n", say(answer.as_ref()));
        }
        expected.assert_eq(&told);
    }

    fn say(reply: Option<&Reply>) -> String {
        let Some(reply) = reply else { return "elsewhere".to_owned() };
        let mut parts = vec![format!("{:?}", reply.code)];
        parts.extend(reply.answers.iter().map(|r| format!("{} {}", r.record_type(), r.data)));
        parts
            .extend(reply.additionals.iter().map(|r| format!("+ {} {} {}", r.name, r.record_type(), r.data)));
        parts.extend(reply.soa.iter().map(|r| format!("soa {}", r.name)));
        parts.extend(reply.follow.iter().map(|name| format!("follow {name}")));
        parts.join(" | ")
    }

    #[test]
    fn services_have_their_addresses() {
        check(
            "A web.ns.svc
             A WEB.ns.SVC
             AAAA web.ns.svc
             A nothing.ns.svc
             A web.other.svc
             A db.ns.svc
             A idle.ns.svc
             CNAME far.ns.svc
             A far.ns.svc",
            expect![[r#"
                A web.ns.svc: NoError | A 10.96.0.7
                A WEB.ns.SVC: NoError | A 10.96.0.7
                AAAA web.ns.svc: NoError | soa cluster.local.
                A nothing.ns.svc: NXDomain | soa cluster.local.
                A web.other.svc: NXDomain | soa cluster.local.
                A db.ns.svc: NoError | A 10.244.0.2 | A 10.244.0.3 | A 10.244.0.4
                A idle.ns.svc: NXDomain | soa cluster.local.
                CNAME far.ns.svc: NoError | CNAME example.com.
                A far.ns.svc: NoError | CNAME example.com. | follow example.com.
            "#]],
        );
    }

    #[test]
    fn endpoints_have_names() {
        check(
            "A db-0.db.ns.svc
             A 10-244-0-4.db.ns.svc
             A db-2.db.ns.svc
             A 10-244-0-9.web.ns.svc
             AAAA db-0.db.ns.svc",
            expect![[r#"
                A db-0.db.ns.svc: NoError | A 10.244.0.2
                A 10-244-0-4.db.ns.svc: NoError | A 10.244.0.4
                A db-2.db.ns.svc: NXDomain | soa cluster.local.
                A 10-244-0-9.web.ns.svc: NoError | A 10.244.0.9
                AAAA db-0.db.ns.svc: NoError | soa cluster.local.
            "#]],
        );
    }

    #[test]
    fn ports_have_service_records() {
        check(
            "SRV _http._tcp.web.ns.svc
             SRV _dns._udp.web.ns.svc
             SRV _http._udp.web.ns.svc
             SRV _sql._tcp.db.ns.svc
             A _http._tcp.web.ns.svc
             SRV _tcp.web.ns.svc
             SRV _sctp.web.ns.svc
             SRV http.tcp.web.ns.svc",
            expect![[r#"
                SRV _http._tcp.web.ns.svc: NoError | SRV 0 100 80 web.ns.svc.cluster.local. | + web.ns.svc.cluster.local. A 10.96.0.7
                SRV _dns._udp.web.ns.svc: NoError | SRV 0 100 53 web.ns.svc.cluster.local. | + web.ns.svc.cluster.local. A 10.96.0.7
                SRV _http._udp.web.ns.svc: NXDomain | soa cluster.local.
                SRV _sql._tcp.db.ns.svc: NoError | SRV 0 100 5432 db-0.db.ns.svc.cluster.local. | SRV 0 100 5432 db-1.db.ns.svc.cluster.local. | SRV 0 100 5432 10-244-0-4.db.ns.svc.cluster.local. | + db-0.db.ns.svc.cluster.local. A 10.244.0.2 | + db-1.db.ns.svc.cluster.local. A 10.244.0.3 | + 10-244-0-4.db.ns.svc.cluster.local. A 10.244.0.4
                A _http._tcp.web.ns.svc: NoError | soa cluster.local.
                SRV _tcp.web.ns.svc: NoError | soa cluster.local.
                SRV _sctp.web.ns.svc: NXDomain | soa cluster.local.
                SRV http.tcp.web.ns.svc: NXDomain | soa cluster.local.
            "#]],
        );
    }

    #[test]
    fn addresses_have_names() {
        check(
            "PTR 7.0.96.10.in-addr.arpa.
             PTR 2.0.244.10.in-addr.arpa.
             PTR 9.0.244.10.in-addr.arpa.
             PTR 99.0.244.10.in-addr.arpa.
             PTR 1.1.1.1.in-addr.arpa.
             PTR 96.10.in-addr.arpa.
             A 7.0.96.10.in-addr.arpa.",
            expect![[r#"
                PTR 7.0.96.10.in-addr.arpa.: NoError | PTR web.ns.svc.cluster.local.
                PTR 2.0.244.10.in-addr.arpa.: NoError | PTR db-0.db.ns.svc.cluster.local.
                PTR 9.0.244.10.in-addr.arpa.: NoError | PTR 10-244-0-9.web.ns.svc.cluster.local.
                PTR 99.0.244.10.in-addr.arpa.: NXDomain | soa cluster.local.
                PTR 1.1.1.1.in-addr.arpa.: elsewhere
                PTR 96.10.in-addr.arpa.: elsewhere
                A 7.0.96.10.in-addr.arpa.: NoError | soa cluster.local.
            "#]],
        );
    }

    #[test]
    fn the_zone_itself_answers() {
        check(
            "SOA cluster.local.
             A cluster.local.
             NS cluster.local.
             TXT dns-version
             A dns-version
             A ns.dns
             A svc
             A ns.svc
             A other.svc
             A 10-244-0-2.ns.pod
             A not-an-address.ns.pod
             A x.y.z.web.ns.svc
             A kubernetes.default.
             A example.com.
             A notcluster.local.",
            expect![[r#"
                SOA cluster.local.: NoError | SOA ns.dns.cluster.local. hostmaster.cluster.local. 7 7200 1800 86400 5
                A cluster.local.: NoError | soa cluster.local.
                NS cluster.local.: NoError | NS ns.dns.cluster.local.
                TXT dns-version: NoError | TXT 1.1.0
                A dns-version: NoError | soa cluster.local.
                A ns.dns: NoError | A 10.96.0.10
                A svc: NoError | soa cluster.local.
                A ns.svc: NoError | soa cluster.local.
                A other.svc: NXDomain | soa cluster.local.
                A 10-244-0-2.ns.pod: NoError | A 10.244.0.2
                A not-an-address.ns.pod: NXDomain | soa cluster.local.
                A x.y.z.web.ns.svc: NXDomain | soa cluster.local.
                A kubernetes.default.: elsewhere
                A example.com.: elsewhere
                A notcluster.local.: elsewhere
            "#]],
        );
    }
}
