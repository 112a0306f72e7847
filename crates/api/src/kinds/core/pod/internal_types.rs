//! The internal types of the reference that a diff shows: their Go fields in order, with the JSON name and the shape of each.

use super::internal::Field;
use super::internal::Shape::{Flag, FromParent, Inline, List, Number, Pointer, Raw, Struct, Text};

#[rustfmt::skip]
pub static TYPES: &[(&str, &[Field])] = &[
    ("PodSpec", &[
        ("Volumes", "volumes", List("Volume")), ("InitContainers", "initContainers", List("Container")),
        ("Containers", "containers", List("Container")),
        ("EphemeralContainers", "ephemeralContainers", List("EphemeralContainer")),
        ("RestartPolicy", "restartPolicy", Text),
        ("TerminationGracePeriodSeconds", "terminationGracePeriodSeconds", Raw),
        ("ActiveDeadlineSeconds", "activeDeadlineSeconds", Raw), ("DNSPolicy", "dnsPolicy", Text),
        ("NodeSelector", "nodeSelector", Raw), ("ServiceAccountName", "serviceAccountName", Text),
        ("AutomountServiceAccountToken", "automountServiceAccountToken", Raw), ("NodeName", "nodeName", Text),
        ("SecurityContext", "securityContext", Pointer("PodSecurityContext")),
        ("ImagePullSecrets", "imagePullSecrets", List("LocalObjectReference")),
        ("Hostname", "hostname", Text), ("Subdomain", "subdomain", Text),
        ("SetHostnameAsFQDN", "setHostnameAsFQDN", Raw), ("Affinity", "affinity", Pointer("Affinity")),
        ("SchedulerName", "schedulerName", Text), ("Tolerations", "tolerations", List("Toleration")),
        ("HostAliases", "hostAliases", List("HostAlias")), ("PriorityClassName", "priorityClassName", Text),
        ("Priority", "priority", Raw), ("PreemptionPolicy", "preemptionPolicy", Raw),
        ("DNSConfig", "dnsConfig", Pointer("PodDNSConfig")),
        ("ReadinessGates", "readinessGates", List("PodReadinessGate")),
        ("RuntimeClassName", "runtimeClassName", Raw), ("Overhead", "overhead", Raw),
        ("EnableServiceLinks", "enableServiceLinks", Raw),
        ("TopologySpreadConstraints", "topologySpreadConstraints", List("TopologySpreadConstraint")),
        ("OS", "os", Pointer("PodOS")), ("SchedulingGates", "schedulingGates", List("PodSchedulingGate")),
        ("ResourceClaims", "resourceClaims", List("PodResourceClaim")),
        ("Resources", "resources", Pointer("ResourceRequirements")),
        ("HostnameOverride", "hostnameOverride", Raw),
    ]),
    ("PodSecurityContext", &[
        ("HostNetwork", "hostNetwork", FromParent("flag")), ("HostPID", "hostPID", FromParent("flag")),
        ("HostIPC", "hostIPC", FromParent("flag")),
        ("ShareProcessNamespace", "shareProcessNamespace", FromParent("raw")),
        ("HostUsers", "hostUsers", FromParent("raw")),
        ("SELinuxOptions", "seLinuxOptions", Pointer("SELinuxOptions")),
        ("WindowsOptions", "windowsOptions", Pointer("WindowsSecurityContextOptions")),
        ("RunAsUser", "runAsUser", Raw), ("RunAsGroup", "runAsGroup", Raw),
        ("RunAsNonRoot", "runAsNonRoot", Raw), ("SupplementalGroups", "supplementalGroups", Raw),
        ("SupplementalGroupsPolicy", "supplementalGroupsPolicy", Raw), ("FSGroup", "fsGroup", Raw),
        ("FSGroupChangePolicy", "fsGroupChangePolicy", Raw), ("Sysctls", "sysctls", List("Sysctl")),
        ("SeccompProfile", "seccompProfile", Pointer("SeccompProfile")),
        ("AppArmorProfile", "appArmorProfile", Pointer("AppArmorProfile")),
        ("SELinuxChangePolicy", "seLinuxChangePolicy", Raw),
    ]),
    ("Container", &[
        ("", "", Inline("ContainerFields")),
    ]),
    ("EphemeralContainer", &[
        ("", "", Inline("ContainerFields")), ("TargetContainerName", "targetContainerName", Text),
    ]),
    ("ContainerFields", &[
        ("Name", "name", Text), ("Image", "image", Text), ("Command", "command", Raw), ("Args", "args", Raw),
        ("WorkingDir", "workingDir", Text), ("Ports", "ports", List("ContainerPort")),
        ("EnvFrom", "envFrom", List("EnvFromSource")), ("Env", "env", List("EnvVar")),
        ("Resources", "resources", Struct("ResourceRequirements")),
        ("ResizePolicy", "resizePolicy", List("ContainerResizePolicy")),
        ("RestartPolicy", "restartPolicy", Raw),
        ("RestartPolicyRules", "restartPolicyRules", List("ContainerRestartRule")),
        ("VolumeMounts", "volumeMounts", List("VolumeMount")),
        ("VolumeDevices", "volumeDevices", List("VolumeDevice")),
        ("LivenessProbe", "livenessProbe", Pointer("Probe")),
        ("ReadinessProbe", "readinessProbe", Pointer("Probe")),
        ("StartupProbe", "startupProbe", Pointer("Probe")), ("Lifecycle", "lifecycle", Pointer("Lifecycle")),
        ("TerminationMessagePath", "terminationMessagePath", Text),
        ("TerminationMessagePolicy", "terminationMessagePolicy", Text),
        ("ImagePullPolicy", "imagePullPolicy", Text),
        ("SecurityContext", "securityContext", Pointer("SecurityContext")), ("Stdin", "stdin", Flag),
        ("StdinOnce", "stdinOnce", Flag), ("TTY", "tty", Flag),
    ]),
    ("ContainerPort", &[
        ("Name", "name", Text), ("HostPort", "hostPort", Number), ("ContainerPort", "containerPort", Number),
        ("Protocol", "protocol", Text), ("HostIP", "hostIP", Text),
    ]),
    ("EnvFromSource", &[
        ("Prefix", "prefix", Text), ("ConfigMapRef", "configMapRef", Pointer("NamedOptional")),
        ("SecretRef", "secretRef", Pointer("NamedOptional")),
    ]),
    ("NamedOptional", &[
        ("Name", "name", Text), ("Optional", "optional", Raw),
    ]),
    ("EnvVar", &[
        ("Name", "name", Text), ("Value", "value", Text), ("ValueFrom", "valueFrom", Pointer("EnvVarSource")),
    ]),
    ("EnvVarSource", &[
        ("FieldRef", "fieldRef", Pointer("ObjectFieldSelector")),
        ("ResourceFieldRef", "resourceFieldRef", Pointer("ResourceFieldSelector")),
        ("ConfigMapKeyRef", "configMapKeyRef", Pointer("KeySelector")),
        ("SecretKeyRef", "secretKeyRef", Pointer("KeySelector")),
        ("FileKeyRef", "fileKeyRef", Pointer("FileKeySelector")),
    ]),
    ("ObjectFieldSelector", &[
        ("APIVersion", "apiVersion", Text), ("FieldPath", "fieldPath", Text),
    ]),
    ("ResourceFieldSelector", &[
        ("ContainerName", "containerName", Text), ("Resource", "resource", Text), ("Divisor", "divisor", Raw),
    ]),
    ("KeySelector", &[
        ("Name", "name", Text), ("Key", "key", Text), ("Optional", "optional", Raw),
    ]),
    ("FileKeySelector", &[
        ("VolumeName", "volumeName", Text), ("Path", "path", Text), ("Key", "key", Text),
        ("Optional", "optional", Raw),
    ]),
    ("ResourceRequirements", &[
        ("Limits", "limits", Raw), ("Requests", "requests", Raw), ("Claims", "claims", List("ResourceClaim")),
    ]),
    ("ResourceClaim", &[
        ("Name", "name", Text), ("Request", "request", Text),
    ]),
    ("ContainerResizePolicy", &[
        ("ResourceName", "resourceName", Text), ("RestartPolicy", "restartPolicy", Text),
    ]),
    ("ContainerRestartRule", &[
        ("Action", "action", Text), ("ExitCodes", "exitCodes", Pointer("ContainerRestartRuleOnExitCodes")),
    ]),
    ("ContainerRestartRuleOnExitCodes", &[
        ("Operator", "operator", Text), ("Values", "values", Raw),
    ]),
    ("VolumeMount", &[
        ("Name", "name", Text), ("ReadOnly", "readOnly", Flag),
        ("RecursiveReadOnly", "recursiveReadOnly", Raw), ("MountPath", "mountPath", Text),
        ("SubPath", "subPath", Text), ("MountPropagation", "mountPropagation", Raw),
        ("SubPathExpr", "subPathExpr", Text),
    ]),
    ("VolumeDevice", &[
        ("Name", "name", Text), ("DevicePath", "devicePath", Text),
    ]),
    ("Probe", &[
        ("", "", Inline("ProbeHandler")), ("InitialDelaySeconds", "initialDelaySeconds", Number),
        ("TimeoutSeconds", "timeoutSeconds", Number), ("PeriodSeconds", "periodSeconds", Number),
        ("SuccessThreshold", "successThreshold", Number), ("FailureThreshold", "failureThreshold", Number),
        ("TerminationGracePeriodSeconds", "terminationGracePeriodSeconds", Raw),
    ]),
    ("ProbeHandler", &[
        ("Exec", "exec", Pointer("ExecAction")), ("HTTPGet", "httpGet", Pointer("HTTPGetAction")),
        ("TCPSocket", "tcpSocket", Pointer("TCPSocketAction")), ("GRPC", "grpc", Pointer("GRPCAction")),
    ]),
    ("Lifecycle", &[
        ("PostStart", "postStart", Pointer("LifecycleHandler")),
        ("PreStop", "preStop", Pointer("LifecycleHandler")), ("StopSignal", "stopSignal", Raw),
    ]),
    ("LifecycleHandler", &[
        ("Exec", "exec", Pointer("ExecAction")), ("HTTPGet", "httpGet", Pointer("HTTPGetAction")),
        ("TCPSocket", "tcpSocket", Pointer("TCPSocketAction")), ("Sleep", "sleep", Pointer("SleepAction")),
    ]),
    ("ExecAction", &[
        ("Command", "command", Raw),
    ]),
    ("HTTPGetAction", &[
        ("Path", "path", Text), ("Port", "port", Raw), ("Host", "host", Text), ("Scheme", "scheme", Text),
        ("HTTPHeaders", "httpHeaders", List("HTTPHeader")),
    ]),
    ("HTTPHeader", &[
        ("Name", "name", Text), ("Value", "value", Text),
    ]),
    ("TCPSocketAction", &[
        ("Port", "port", Raw), ("Host", "host", Text),
    ]),
    ("GRPCAction", &[
        ("Port", "port", Number), ("Service", "service", Raw),
    ]),
    ("SleepAction", &[
        ("Seconds", "seconds", Number),
    ]),
    ("SecurityContext", &[
        ("Capabilities", "capabilities", Pointer("Capabilities")), ("Privileged", "privileged", Raw),
        ("SELinuxOptions", "seLinuxOptions", Pointer("SELinuxOptions")),
        ("WindowsOptions", "windowsOptions", Pointer("WindowsSecurityContextOptions")),
        ("RunAsUser", "runAsUser", Raw), ("RunAsGroup", "runAsGroup", Raw),
        ("RunAsNonRoot", "runAsNonRoot", Raw), ("ReadOnlyRootFilesystem", "readOnlyRootFilesystem", Raw),
        ("AllowPrivilegeEscalation", "allowPrivilegeEscalation", Raw), ("ProcMount", "procMount", Raw),
        ("SeccompProfile", "seccompProfile", Pointer("SeccompProfile")),
        ("AppArmorProfile", "appArmorProfile", Pointer("AppArmorProfile")),
    ]),
    ("Capabilities", &[
        ("Add", "add", Raw), ("Drop", "drop", Raw),
    ]),
    ("SELinuxOptions", &[
        ("User", "user", Text), ("Role", "role", Text), ("Type", "type", Text), ("Level", "level", Text),
    ]),
    ("WindowsSecurityContextOptions", &[
        ("GMSACredentialSpecName", "gmsaCredentialSpecName", Raw),
        ("GMSACredentialSpec", "gmsaCredentialSpec", Raw), ("RunAsUserName", "runAsUserName", Raw),
        ("HostProcess", "hostProcess", Raw),
    ]),
    ("Sysctl", &[
        ("Name", "name", Text), ("Value", "value", Text),
    ]),
    ("SeccompProfile", &[
        ("Type", "type", Text), ("LocalhostProfile", "localhostProfile", Raw),
    ]),
    ("AppArmorProfile", &[
        ("Type", "type", Text), ("LocalhostProfile", "localhostProfile", Raw),
    ]),
    ("LocalObjectReference", &[
        ("Name", "name", Text),
    ]),
    ("Affinity", &[
        ("NodeAffinity", "nodeAffinity", Pointer("NodeAffinity")),
        ("PodAffinity", "podAffinity", Pointer("PodAffinity")),
        ("PodAntiAffinity", "podAntiAffinity", Pointer("PodAffinity")),
    ]),
    ("NodeAffinity", &[
       
        ("RequiredDuringSchedulingIgnoredDuringExecution", "requiredDuringSchedulingIgnoredDuringExecution", Pointer("NodeSelector")),
        ("PreferredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution", List("PreferredSchedulingTerm")),
    ]),
    ("NodeSelector", &[
        ("NodeSelectorTerms", "nodeSelectorTerms", List("NodeSelectorTerm")),
    ]),
    ("NodeSelectorTerm", &[
        ("MatchExpressions", "matchExpressions", List("NodeSelectorRequirement")),
        ("MatchFields", "matchFields", List("NodeSelectorRequirement")),
    ]),
    ("NodeSelectorRequirement", &[
        ("Key", "key", Text), ("Operator", "operator", Text), ("Values", "values", Raw),
    ]),
    ("PreferredSchedulingTerm", &[
        ("Weight", "weight", Number), ("Preference", "preference", Struct("NodeSelectorTerm")),
    ]),
    ("PodAffinity", &[
       
        ("RequiredDuringSchedulingIgnoredDuringExecution", "requiredDuringSchedulingIgnoredDuringExecution", List("PodAffinityTerm")),
        ("PreferredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution", List("WeightedPodAffinityTerm")),
    ]),
    ("PodAffinityTerm", &[
        ("LabelSelector", "labelSelector", Raw), ("Namespaces", "namespaces", Raw),
        ("TopologyKey", "topologyKey", Text), ("NamespaceSelector", "namespaceSelector", Raw),
        ("MatchLabelKeys", "matchLabelKeys", Raw), ("MismatchLabelKeys", "mismatchLabelKeys", Raw),
    ]),
    ("WeightedPodAffinityTerm", &[
        ("Weight", "weight", Number), ("PodAffinityTerm", "podAffinityTerm", Struct("PodAffinityTerm")),
    ]),
    ("Toleration", &[
        ("Key", "key", Text), ("Operator", "operator", Text), ("Value", "value", Text),
        ("Effect", "effect", Text), ("TolerationSeconds", "tolerationSeconds", Raw),
    ]),
    ("Taint", &[
        ("Key", "key", Text), ("Value", "value", Text), ("Effect", "effect", Text), ("TimeAdded", "timeAdded", Raw),
    ]),
    ("HostAlias", &[
        ("IP", "ip", Text), ("Hostnames", "hostnames", Raw),
    ]),
    ("PodDNSConfig", &[
        ("Nameservers", "nameservers", Raw), ("Searches", "searches", Raw),
        ("Options", "options", List("PodDNSConfigOption")),
    ]),
    ("PodDNSConfigOption", &[
        ("Name", "name", Text), ("Value", "value", Raw),
    ]),
    ("PodReadinessGate", &[
        ("ConditionType", "conditionType", Text),
    ]),
    ("TopologySpreadConstraint", &[
        ("MaxSkew", "maxSkew", Number), ("TopologyKey", "topologyKey", Text),
        ("WhenUnsatisfiable", "whenUnsatisfiable", Text), ("LabelSelector", "labelSelector", Raw),
        ("MinDomains", "minDomains", Raw), ("NodeAffinityPolicy", "nodeAffinityPolicy", Raw),
        ("NodeTaintsPolicy", "nodeTaintsPolicy", Raw), ("MatchLabelKeys", "matchLabelKeys", Raw),
    ]),
    ("PodOS", &[
        ("Name", "name", Text),
    ]),
    ("PodSchedulingGate", &[
        ("Name", "name", Text),
    ]),
    ("PodResourceClaim", &[
        ("Name", "name", Text), ("ResourceClaimName", "resourceClaimName", Raw),
        ("ResourceClaimTemplateName", "resourceClaimTemplateName", Raw),
    ]),
    ("Volume", &[
        ("Name", "name", Text), ("HostPath", "hostPath", Pointer("HostPath")),
        ("EmptyDir", "emptyDir", Pointer("EmptyDir")),
        ("GCEPersistentDisk", "gcePersistentDisk", Pointer("GCE")),
        ("AWSElasticBlockStore", "awsElasticBlockStore", Pointer("AWS")),
        ("GitRepo", "gitRepo", Pointer("GitRepo")), ("Secret", "secret", Pointer("SecretVolume")),
        ("NFS", "nfs", Pointer("NFS")), ("ISCSI", "iscsi", Pointer("ISCSI")),
        ("Glusterfs", "glusterfs", Pointer("Glusterfs")),
        ("PersistentVolumeClaim", "persistentVolumeClaim", Pointer("Claim")), ("RBD", "rbd", Pointer("RBD")),
        ("Quobyte", "quobyte", Pointer("Quobyte")), ("FlexVolume", "flexVolume", Pointer("Flex")),
        ("Cinder", "cinder", Pointer("Cinder")), ("CephFS", "cephfs", Pointer("CephFS")),
        ("Flocker", "flocker", Pointer("Flocker")), ("DownwardAPI", "downwardAPI", Pointer("DownwardAPI")),
        ("FC", "fc", Pointer("FC")), ("AzureFile", "azureFile", Pointer("AzureFile")),
        ("ConfigMap", "configMap", Pointer("ConfigMapVolume")),
        ("VsphereVolume", "vsphereVolume", Pointer("Vsphere")),
        ("AzureDisk", "azureDisk", Pointer("AzureDisk")),
        ("PhotonPersistentDisk", "photonPersistentDisk", Pointer("Photon")),
        ("Projected", "projected", Pointer("Projected")),
        ("PortworxVolume", "portworxVolume", Pointer("Portworx")), ("ScaleIO", "scaleIO", Pointer("ScaleIO")),
        ("StorageOS", "storageos", Pointer("StorageOS")), ("CSI", "csi", Pointer("CSI")),
        ("Ephemeral", "ephemeral", Pointer("Ephemeral")), ("Image", "image", Pointer("ImageVolume")),
    ]),
    ("HostPath", &[
        ("Path", "path", Text), ("Type", "type", Raw),
    ]),
    ("EmptyDir", &[
        ("Medium", "medium", Text), ("SizeLimit", "sizeLimit", Raw),
    ]),
    ("GCE", &[
        ("PDName", "pdName", Text), ("FSType", "fsType", Text), ("Partition", "partition", Number),
        ("ReadOnly", "readOnly", Flag),
    ]),
    ("AWS", &[
        ("VolumeID", "volumeID", Text), ("FSType", "fsType", Text), ("Partition", "partition", Number),
        ("ReadOnly", "readOnly", Flag),
    ]),
    ("GitRepo", &[
        ("Repository", "repository", Text), ("Revision", "revision", Text), ("Directory", "directory", Text),
    ]),
    ("SecretVolume", &[
        ("SecretName", "secretName", Text), ("Items", "items", List("KeyToPath")),
        ("DefaultMode", "defaultMode", Raw), ("Optional", "optional", Raw),
    ]),
    ("ConfigMapVolume", &[
        ("Name", "name", Text), ("Items", "items", List("KeyToPath")), ("DefaultMode", "defaultMode", Raw),
        ("Optional", "optional", Raw),
    ]),
    ("KeyToPath", &[
        ("Key", "key", Text), ("Path", "path", Text), ("Mode", "mode", Raw),
    ]),
    ("NFS", &[
        ("Server", "server", Text), ("Path", "path", Text), ("ReadOnly", "readOnly", Flag),
    ]),
    ("ISCSI", &[
        ("TargetPortal", "targetPortal", Text), ("IQN", "iqn", Text), ("Lun", "lun", Number),
        ("ISCSIInterface", "iscsiInterface", Text), ("FSType", "fsType", Text),
        ("ReadOnly", "readOnly", Flag), ("Portals", "portals", Raw),
        ("DiscoveryCHAPAuth", "chapAuthDiscovery", Flag), ("SessionCHAPAuth", "chapAuthSession", Flag),
        ("SecretRef", "secretRef", Pointer("LocalObjectReference")), ("InitiatorName", "initiatorName", Raw),
    ]),
    ("Glusterfs", &[
        ("EndpointsName", "endpoints", Text), ("Path", "path", Text), ("ReadOnly", "readOnly", Flag),
    ]),
    ("Claim", &[
        ("ClaimName", "claimName", Text), ("ReadOnly", "readOnly", Flag),
    ]),
    ("RBD", &[
        ("CephMonitors", "monitors", Raw), ("RBDImage", "image", Text), ("FSType", "fsType", Text),
        ("RBDPool", "pool", Text), ("RadosUser", "user", Text), ("Keyring", "keyring", Text),
        ("SecretRef", "secretRef", Pointer("LocalObjectReference")), ("ReadOnly", "readOnly", Flag),
    ]),
    ("Quobyte", &[
        ("Registry", "registry", Text), ("Volume", "volume", Text), ("ReadOnly", "readOnly", Flag),
        ("User", "user", Text), ("Group", "group", Text), ("Tenant", "tenant", Text),
    ]),
    ("Flex", &[
        ("Driver", "driver", Text), ("FSType", "fsType", Text),
        ("SecretRef", "secretRef", Pointer("LocalObjectReference")), ("ReadOnly", "readOnly", Flag),
        ("Options", "options", Raw),
    ]),
    ("Cinder", &[
        ("VolumeID", "volumeID", Text), ("FSType", "fsType", Text), ("ReadOnly", "readOnly", Flag),
        ("SecretRef", "secretRef", Pointer("LocalObjectReference")),
    ]),
    ("CephFS", &[
        ("Monitors", "monitors", Raw), ("Path", "path", Text), ("User", "user", Text),
        ("SecretFile", "secretFile", Text), ("SecretRef", "secretRef", Pointer("LocalObjectReference")),
        ("ReadOnly", "readOnly", Flag),
    ]),
    ("Flocker", &[
        ("DatasetName", "datasetName", Text), ("DatasetUUID", "datasetUUID", Text),
    ]),
    ("DownwardAPI", &[
        ("Items", "items", List("DownwardAPIFile")), ("DefaultMode", "defaultMode", Raw),
    ]),
    ("DownwardAPIFile", &[
        ("Path", "path", Text), ("FieldRef", "fieldRef", Pointer("ObjectFieldSelector")),
        ("ResourceFieldRef", "resourceFieldRef", Pointer("ResourceFieldSelector")), ("Mode", "mode", Raw),
    ]),
    ("FC", &[
        ("TargetWWNs", "targetWWNs", Raw), ("Lun", "lun", Raw), ("FSType", "fsType", Text),
        ("ReadOnly", "readOnly", Flag), ("WWIDs", "wwids", Raw),
    ]),
    ("AzureFile", &[
        ("SecretName", "secretName", Text), ("ShareName", "shareName", Text), ("ReadOnly", "readOnly", Flag),
    ]),
    ("Vsphere", &[
        ("VolumePath", "volumePath", Text), ("FSType", "fsType", Text),
        ("StoragePolicyName", "storagePolicyName", Text), ("StoragePolicyID", "storagePolicyID", Text),
    ]),
    ("AzureDisk", &[
        ("DiskName", "diskName", Text), ("DataDiskURI", "diskURI", Text), ("CachingMode", "cachingMode", Raw),
        ("FSType", "fsType", Raw), ("ReadOnly", "readOnly", Raw), ("Kind", "kind", Raw),
    ]),
    ("Photon", &[
        ("PdID", "pdID", Text), ("FSType", "fsType", Text),
    ]),
    ("Projected", &[
        ("Sources", "sources", List("Projection")), ("DefaultMode", "defaultMode", Raw),
    ]),
    ("Projection", &[
        ("Secret", "secret", Pointer("NamedItems")),
        ("DownwardAPI", "downwardAPI", Pointer("DownwardAPIItems")),
        ("ConfigMap", "configMap", Pointer("NamedItems")),
        ("ServiceAccountToken", "serviceAccountToken", Pointer("ServiceAccountToken")),
        ("ClusterTrustBundle", "clusterTrustBundle", Pointer("ClusterTrustBundle")),
        ("PodCertificate", "podCertificate", Pointer("PodCertificate")),
    ]),
    ("NamedItems", &[
        ("Name", "name", Text), ("Items", "items", List("KeyToPath")), ("Optional", "optional", Raw),
    ]),
    ("DownwardAPIItems", &[
        ("Items", "items", List("DownwardAPIFile")),
    ]),
    ("ServiceAccountToken", &[
        ("Audience", "audience", Text), ("ExpirationSeconds", "expirationSeconds", Number),
        ("Path", "path", Text),
    ]),
    ("ClusterTrustBundle", &[
        ("Name", "name", Raw), ("SignerName", "signerName", Raw), ("LabelSelector", "labelSelector", Raw),
        ("Optional", "optional", Raw), ("Path", "path", Text),
    ]),
    ("PodCertificate", &[
        ("SignerName", "signerName", Text), ("KeyType", "keyType", Text),
        ("MaxExpirationSeconds", "maxExpirationSeconds", Raw),
        ("CredentialBundlePath", "credentialBundlePath", Text), ("KeyPath", "keyPath", Text),
        ("CertificateChainPath", "certificateChainPath", Text), ("UserAnnotations", "userAnnotations", Raw),
    ]),
    ("Portworx", &[
        ("VolumeID", "volumeID", Text), ("FSType", "fsType", Text), ("ReadOnly", "readOnly", Flag),
    ]),
    ("ScaleIO", &[
        ("Gateway", "gateway", Text), ("System", "system", Text),
        ("SecretRef", "secretRef", Pointer("LocalObjectReference")), ("SSLEnabled", "sslEnabled", Flag),
        ("ProtectionDomain", "protectionDomain", Text), ("StoragePool", "storagePool", Text),
        ("StorageMode", "storageMode", Text), ("VolumeName", "volumeName", Text), ("FSType", "fsType", Text),
        ("ReadOnly", "readOnly", Flag),
    ]),
    ("StorageOS", &[
        ("VolumeName", "volumeName", Text), ("VolumeNamespace", "volumeNamespace", Text),
        ("FSType", "fsType", Text), ("ReadOnly", "readOnly", Flag),
        ("SecretRef", "secretRef", Pointer("LocalObjectReference")),
    ]),
    ("CSI", &[
        ("Driver", "driver", Text), ("ReadOnly", "readOnly", Raw), ("FSType", "fsType", Raw),
        ("VolumeAttributes", "volumeAttributes", Raw),
        ("NodePublishSecretRef", "nodePublishSecretRef", Pointer("LocalObjectReference")),
    ]),
    ("Ephemeral", &[
        ("VolumeClaimTemplate", "volumeClaimTemplate", Raw),
    ]),
    ("ImageVolume", &[
        ("Reference", "reference", Text), ("PullPolicy", "pullPolicy", Text),
    ]),
];
