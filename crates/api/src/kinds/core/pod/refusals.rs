//! What a Pod's checks say, one wrong spec at a time.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::Pod;
use crate::field::Errors;
use crate::rules::Rules;

/// The complaints about a Pod of one good container whose spec is changed so.
fn check(change: Value, expect: Expect) {
    let mut pod = json!({
        "metadata": {"name": "p"},
        "spec": {"serviceAccountName": "default", "containers": [{"name": "c", "image": "i"}]},
    });
    for (key, value) in change.as_object().into_iter().flatten() {
        pod["spec"][key] = value.clone();
    }
    Pod.default(&mut pod);
    let mut errs = Errors::default();
    Pod.validate(&pod, &mut errs);
    let said: Vec<String> = errs.0.iter().map(ToString::to_string).collect();
    expect.assert_eq(&said.join("\n"));
}

/// The same with one container, changed so.
fn container(change: Value, expect: Expect) {
    let mut c = json!({"name": "c", "image": "i"});
    for (key, value) in change.as_object().into_iter().flatten() {
        c[key] = value.clone();
    }
    check(json!({"containers": [c]}), expect);
}

#[test]
fn a_good_pod_passes() {
    check(json!({}), expect![""]);
    check(
        json!({"volumes": [{"name": "v"}], "dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.0.0.1"]}}),
        expect![""],
    );
    container(
        json!({"resources": {"requests": {"cpu": "500m", "example.com/gpu": "1"}, "limits": {"cpu": 1, "example.com/gpu": "1"}}}),
        expect![""],
    );
}

#[test]
fn what_is_hardly_meant_gets_a_warning() {
    let pod = json!({"metadata": {"name": "a.b"}, "spec": {"containers": [{
        "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}], "resources": {"requests": {"memory": "100m"}},
    }]}});
    expect![[r#"
        metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]
        spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply
        spec.containers[0].resources.requests[memory]: fractional byte value "100m" is invalid, must be an integer"#]]
    .assert_eq(&Pod.warnings(&pod, None).join("\n"));
}

#[test]
fn containers() {
    container(
        json!({"terminationMessagePolicy": "Mail"}),
        expect![[
            r#"spec.containers[0].terminationMessagePolicy: Unsupported value: "Mail": supported values: "File", "FallbackToLogsOnError""#
        ]],
    );
    container(
        json!({"ports": [{"containerPort": 80, "name": "80"}, {"protocol": "tcp"}]}),
        expect![[r#"
        spec.containers[0].ports[0].name: Invalid value: "80": must contain at least one letter (a-z)
        spec.containers[0].ports[1].containerPort: Required value
        spec.containers[0].ports[1].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP""#]],
    );
    container(
        json!({"ports": [{"containerPort": 80, "hostPort": 80}, {"containerPort": 81, "hostPort": 80}]}),
        expect![[r#"spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//80""#]],
    );
    container(
        json!({"image": " i"}),
        expect![[
            r#"spec.containers[0].image: Invalid value: " i": must not have leading or trailing whitespace"#
        ]],
    );
    check(
        json!({"initContainers": [{"name": "c", "image": "i", "livenessProbe": {"tcpSocket": {"port": 1}}}]}),
        expect![[r#"
        spec.initContainers[0].name: Duplicate value: "c"
        spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"#]],
    );
    check(
        json!({"ephemeralContainers": [{"name": "e", "image": "i", "targetContainerName": "x"}]}),
        expect![[r#"
        spec.ephemeralContainers[0].targetContainerName: Not found: "x"
        spec.ephemeralContainers: Forbidden: cannot be set on create"#]],
    );
}

#[test]
fn environment() {
    container(
        json!({"env": [{"name": ""}, {"name": "a", "valueFrom": {}}]}),
        expect![[r#"
        spec.containers[0].env[0].name: Required value
        spec.containers[0].env[1].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"#]],
    );
    container(
        json!({"env": [{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['x y']"}}}]}),
        expect![[
            r#"spec.containers[0].env[0].valueFrom.fieldRef: Invalid value: "x y": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"#
        ]],
    );
    container(
        json!({"env": [{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "status.phase"}}}]}),
        expect![[
            r#"spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "status.phase": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs""#
        ]],
    );
    container(
        json!({"envFrom": [{"prefix": "a="}]}),
        expect![[r#"
        spec.containers[0].envFrom[0].prefix: Invalid value: "a=": a valid environment variable name must consist only of printable ASCII characters other than '='
        spec.containers[0].envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`"#]],
    );
}

#[test]
fn resources() {
    container(
        json!({"resources": {"limits": {"cpu": "-1", "gpu": "1"}}}),
        expect![[r#"
        spec.containers[0].resources.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0
        spec.containers[0].resources.limits[gpu]: Invalid value: "gpu": must be a standard resource type or fully qualified
        spec.containers[0].resources.limits[gpu]: Invalid value: "gpu": must be a standard resource for containers
        spec.containers[0].resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0
        spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource type or fully qualified
        spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource for containers"#]],
    );
    container(
        json!({"resources": {"requests": {"example.com/gpu": "1500m"}}}),
        expect![[r#"
        spec.containers[0].resources.requests[example.com/gpu]: Invalid value: "1500m": must be an integer
        spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources"#]],
    );
}

#[test]
fn volumes() {
    check(
        json!({"volumes": [{"name": "V_", "secret": {}}]}),
        expect![[r#"
        spec.volumes[0].secret.secretName: Required value
        spec.volumes[0].name: Invalid value: "V_": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"#]],
    );
    check(
        json!({"volumes": [{"name": "v", "hostPath": {"path": "/a/../b", "type": "Pipe"}}]}),
        expect![[r#"
        spec.volumes[0].hostPath.path: Invalid value: "/a/../b": must not contain '..'
        spec.volumes[0].hostPath.type: Unsupported value: "Pipe": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket""#]],
    );
    check(
        json!({"volumes": [{"name": "v", "configMap": {"name": "c", "defaultMode": 512, "items": [{"key": "", "path": "..x"}]}}]}),
        expect![[r#"
        spec.volumes[0].configMap.defaultMode: Invalid value: 512: must be between 0 and 0777 (octal), both inclusive
        spec.volumes[0].configMap.items[0].key: Required value
        spec.volumes[0].configMap.items[0].path: Invalid value: "..x": must not start with '..'"#]],
    );
    container(
        json!({"volumeMounts": [{"name": "", "mountPath": ""}]}),
        expect![[r#"
        spec.containers[0].volumeMounts[0].name: Required value
        spec.containers[0].volumeMounts[0].name: Not found: ""
        spec.containers[0].volumeMounts[0].mountPath: Required value"#]],
    );
}

#[test]
fn probes() {
    container(
        json!({"livenessProbe": {"httpGet": {"port": "web!", "scheme": "FTP"}, "successThreshold": 2}}),
        expect![[r#"
        spec.containers[0].livenessProbe.httpGet.port: Invalid value: "web!": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
        spec.containers[0].livenessProbe.httpGet.scheme: Unsupported value: "FTP": supported values: "HTTP", "HTTPS"
        spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"#]],
    );
    container(
        json!({"readinessProbe": {"exec": {}, "tcpSocket": {"port": 1}, "periodSeconds": -1}}),
        expect![[r#"
        spec.containers[0].readinessProbe.exec.command: Required value
        spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type
        spec.containers[0].readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"#]],
    );
    container(
        json!({"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}}),
        expect![
            "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)"
        ],
    );
}

#[test]
fn placement() {
    check(
        json!({"tolerations": [{"key": "k", "operator": "Exists", "value": "v", "effect": "Never"}]}),
        expect![[r#"
        spec.tolerations[0].operator: Invalid value: "v": value must be empty when `operator` is 'Exists'
        spec.tolerations[0].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute""#]],
    );
    check(
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "k", "operator": "Gt"}]}]}}}}),
        expect![
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'"
        ],
    );
    check(
        json!({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "x"}]}),
        expect![[r#"
        spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero
        spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "x": supported values: "DoNotSchedule", "ScheduleAnyway""#]],
    );
    check(
        json!({"activeDeadlineSeconds": 0, "hostname": "A", "nodeName": "n!"}),
        expect![[r#"
        spec.nodeName: Invalid value: "n!": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive
        spec.hostname: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"#]],
    );
}

#[test]
fn network_and_security() {
    check(
        json!({"dnsPolicy": "None"}),
        expect!["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
    );
    check(
        json!({"hostAliases": [{"ip": "x", "hostnames": ["ok"]}]}),
        expect![[
            r#"spec.hostAliases[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"#
        ]],
    );
    check(
        json!({"securityContext": {"runAsUser": -1, "seccompProfile": {"type": "Localhost"}, "sysctls": [{"name": "net.a"}]}, "hostNetwork": true}),
        expect![[r#"
        spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 4294967295, inclusive
        spec.securityContext.sysctls[0].name: Invalid value: "net.a": may not be specified when 'hostNetwork' is true
        spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost"#]],
    );
    container(
        json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": false, "procMount": "None"}}),
        expect![[r#"
        spec.containers[0].securityContext.procMount: Unsupported value: "None": supported values: "Default", "Unmasked"
        spec.containers[0].securityContext: Invalid value: {"Capabilities":null,"Privileged":true,"SELinuxOptions":null,"WindowsOptions":null,"RunAsUser":null,"RunAsGroup":null,"RunAsNonRoot":null,"ReadOnlyRootFilesystem":null,"AllowPrivilegeEscalation":false,"ProcMount":"None","SeccompProfile":null,"AppArmorProfile":null}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true"#]],
    );
}
