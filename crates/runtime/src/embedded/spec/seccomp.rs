//! The default seccomp profile (RuntimeDefault): what containers may ask of the kernel.
//!
//! The same facts as containerd's and Docker's profile: everything that needs no privilege and has no record of
//! breaking out, plus what goes with a capability that the container was given. What is not listed fails with EPERM.

use serde_json::{Value, json};

use super::syscalls::{ALLOWED, BY_CAPABILITY};

/// `clone` may not make namespaces: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET.
const CLONE_NAMESPACES: u64 = 0x7E02_0000;

/// Linux, BSD, 32-bit and "what is it now" personalities.
const PERSONALITIES: &[u64] = &[0x0, 0x0008, 0x20000, 0x20008, 0xffff_ffff];

pub(super) fn default_profile(capabilities: &[String]) -> Value {
    let has = |name: &str| capabilities.iter().any(|capability| capability == name);
    let mut rules = vec![allow(ALLOWED)];
    for value in PERSONALITIES {
        rules.push(allow_if("personality", 0, *value, "SCMP_CMP_EQ", None));
    }
    // AF_VSOCK reaches the hypervisor past all network namespaces.
    rules.push(allow_if("socket", 0, 40, "SCMP_CMP_NE", None));
    if !has("CAP_SYS_ADMIN") {
        rules.push(allow_if("clone", 0, CLONE_NAMESPACES, "SCMP_CMP_MASKED_EQ", Some(0)));
        // Its flags are behind a pointer that no filter can follow: C libraries fall back to `clone`.
        let enosys = libc::ENOSYS;
        rules.push(json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": enosys}));
    }
    for (capability, syscalls) in BY_CAPABILITY {
        if has(capability) {
            rules.push(allow(syscalls));
        }
    }
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": libc::EPERM,
        "architectures": architectures(),
        "syscalls": rules,
    })
}

fn allow(names: &[&str]) -> Value {
    json!({"names": names, "action": "SCMP_ACT_ALLOW"})
}

fn allow_if(name: &str, index: u32, value: u64, op: &str, value_two: Option<u64>) -> Value {
    let mut arg = json!({"index": index, "value": value, "op": op});
    if let Some(value_two) = value_two {
        arg["valueTwo"] = value_two.into();
    }
    json!({"names": [name], "action": "SCMP_ACT_ALLOW", "args": [arg]})
}

fn architectures() -> &'static [&'static str] {
    match std::env::consts::ARCH {
        "x86_64" => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "aarch64" => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        // libseccomp's native architecture is always in.
        _ => &[],
    }
}
