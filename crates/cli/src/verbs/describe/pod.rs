//! A Pod as `describe` lays it out: where it runs, its containers with state and mounts, conditions, volumes.

use serde_json::Value;

use super::{Page, plain};

pub(super) fn describe(pod: &Value, _now: i64, page: &mut Page) {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let text =
        |v: &Value| v.as_str().filter(|s| !s.is_empty()).map_or_else(|| "<none>".to_owned(), str::to_owned);
    page.line(0, "Priority", plain(&spec["priority"]));
    page.line(0, "Service Account", text(&spec["serviceAccountName"]));
    match (spec["nodeName"].as_str(), status["hostIP"].as_str()) {
        (Some(node), Some(ip)) => page.line(0, "Node", format!("{node}/{ip}")),
        (Some(node), None) => page.line(0, "Node", format!("{node}/")),
        _ => page.line(0, "Node", "<none>"),
    }
    if let Some(started) = status["startTime"].as_str() {
        page.line(0, "Start Time", started);
    }
    page.pairs(0, "Labels", &pod["metadata"]["labels"], "=");
    page.pairs(0, "Annotations", &pod["metadata"]["annotations"], ": ");
    if pod["metadata"]["deletionTimestamp"].is_string() {
        page.line(
            0,
            "Status",
            format!("Terminating (since {})", plain(&pod["metadata"]["deletionTimestamp"])),
        );
        page.line(
            0,
            "Termination Grace Period",
            format!("{}s", plain(&pod["metadata"]["deletionGracePeriodSeconds"])),
        );
    } else {
        page.line(0, "Status", text(&status["phase"]));
    }
    for key in ["reason", "message"] {
        if let Some(said) = status[key].as_str() {
            page.line(0, if key == "reason" { "Reason" } else { "Message" }, said);
        }
    }
    page.line(0, "IP", text(&status["podIP"]));
    addresses(status, page);
    if let Some(owner) =
        pod["metadata"]["ownerReferences"].as_array().into_iter().flatten().find(|o| o["controller"] == true)
    {
        page.line(0, "Controlled By", format!("{}/{}", plain(&owner["kind"]), plain(&owner["name"])));
    }
    containers("Init Containers", &spec["initContainers"], &status["initContainerStatuses"], page);
    containers("Containers", &spec["containers"], &status["containerStatuses"], page);
    conditions(&status["conditions"], page);
    volumes(&spec["volumes"], page);
    page.line(0, "QoS Class", text(&status["qosClass"]));
    page.pairs(0, "Node-Selectors", &spec["nodeSelector"], "=");
    tolerations(&spec["tolerations"], page);
}

fn addresses(status: &Value, page: &mut Page) {
    let addresses = status["podIPs"].as_array().map_or(&[][..], Vec::as_slice);
    page.line(0, "IPs", if addresses.is_empty() { "<none>" } else { "" });
    for address in addresses {
        page.line(1, "IP", plain(&address["ip"]));
    }
}

fn containers(title: &str, containers: &Value, statuses: &Value, page: &mut Page) {
    let Some(containers) = containers.as_array().filter(|c| !c.is_empty()) else { return };
    page.line(0, title, "");
    for container in containers {
        let status = statuses.as_array().into_iter().flatten().find(|s| s["name"] == container["name"]);
        page.line(1, &plain(&container["name"]), "");
        one(container, status.unwrap_or(&Value::Null), page);
    }
}

fn one(container: &Value, status: &Value, page: &mut Page) {
    if let Some(id) = status["containerID"].as_str() {
        page.line(2, "Container ID", id);
    }
    page.line(2, "Image", plain(&container["image"]));
    if let Some(id) = status["imageID"].as_str() {
        page.line(2, "Image ID", id);
    }
    for port in container["ports"].as_array().into_iter().flatten() {
        page.line(2, "Port", format!("{}/{}", plain(&port["containerPort"]), plain(&port["protocol"])));
    }
    for (key, title) in [("command", "Command"), ("args", "Args")] {
        let words: Vec<String> = container[key].as_array().into_iter().flatten().map(plain).collect();
        if !words.is_empty() {
            page.line(2, title, words.join(" "));
        }
    }
    state("State", &status["state"], page);
    state("Last State", &status["lastState"], page);
    let ready = if status["ready"] == true { "True" } else { "False" };
    page.line(2, "Ready", ready);
    page.line(2, "Restart Count", status["restartCount"].as_i64().unwrap_or(0).to_string());
    for (key, title) in [("limits", "Limits"), ("requests", "Requests")] {
        if container["resources"][key].is_object() {
            page.pairs(2, title, &container["resources"][key], ": ");
        }
    }
    environment(container, page);
    mounts(container, page);
}

fn state(title: &str, state: &Value, page: &mut Page) {
    let Some((name, state)) = state.as_object().and_then(|s| s.iter().next()) else {
        return;
    };
    let mut shown = name.clone();
    if let Some(first) = shown.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    page.line(2, title, shown);
    for (key, title) in [
        ("reason", "Reason"),
        ("message", "Message"),
        ("exitCode", "Exit Code"),
        ("signal", "Signal"),
        ("startedAt", "Started"),
        ("finishedAt", "Finished"),
    ] {
        if !state[key].is_null() {
            page.line(3, title, plain(&state[key]));
        }
    }
}

fn environment(container: &Value, page: &mut Page) {
    let env = container["env"].as_array().map_or(&[][..], Vec::as_slice);
    page.line(2, "Environment", if env.is_empty() { "<none>" } else { "" });
    for variable in env {
        let from = &variable["valueFrom"];
        let value = if let Some(field) = from["fieldRef"]["fieldPath"].as_str() {
            format!("(v1:{field})")
        } else if let Some(r) = from.get("configMapKeyRef") {
            format!("<set to the key '{}' of config map '{}'>", plain(&r["key"]), plain(&r["name"]))
        } else if let Some(r) = from.get("secretKeyRef") {
            format!("<set to the key '{}' in secret '{}'>", plain(&r["key"]), plain(&r["name"]))
        } else {
            variable["value"].as_str().unwrap_or("").to_owned()
        };
        page.line(3, &plain(&variable["name"]), value);
    }
}

fn mounts(container: &Value, page: &mut Page) {
    let mounts = container["volumeMounts"].as_array().map_or(&[][..], Vec::as_slice);
    page.line(2, "Mounts", if mounts.is_empty() { "<none>" } else { "" });
    for mount in mounts {
        let mode = if mount["readOnly"] == true { "ro" } else { "rw" };
        page.line(3, &plain(&mount["mountPath"]), format!("from {} ({mode})", plain(&mount["name"])));
    }
}

fn conditions(conditions: &Value, page: &mut Page) {
    let Some(conditions) = conditions.as_array().filter(|c| !c.is_empty()) else { return };
    page.line(0, "Conditions", "");
    page.line(1, "Type", "Status");
    for condition in conditions {
        page.line(1, &plain(&condition["type"]), plain(&condition["status"]));
    }
}

fn volumes(volumes: &Value, page: &mut Page) {
    let volumes = volumes.as_array().map_or(&[][..], Vec::as_slice);
    page.line(0, "Volumes", if volumes.is_empty() { "<none>" } else { "" });
    for volume in volumes {
        page.line(1, &plain(&volume["name"]), "");
        let source = volume.as_object().into_iter().flatten().find(|(k, _)| *k != "name");
        if let Some((kind, source)) = source {
            page.line(2, "Type", super::title(kind));
            for (key, value) in source.as_object().into_iter().flatten() {
                page.value(2, &super::title(key), value);
            }
        }
    }
}

fn tolerations(tolerations: &Value, page: &mut Page) {
    let shown: Vec<String> = tolerations
        .as_array()
        .into_iter()
        .flatten()
        .map(|t| {
            let mut out = plain(&t["key"]);
            if let Some(value) = t["value"].as_str() {
                out.push_str(&format!("={value}"));
            }
            if let Some(effect) = t["effect"].as_str() {
                out.push_str(&format!(":{effect}"));
            }
            if t["operator"] == "Exists" {
                out.push_str(" op=Exists");
            }
            if let Some(seconds) = t["tolerationSeconds"].as_i64() {
                out.push_str(&format!(" for {seconds}s"));
            }
            out
        })
        .collect();
    page.line(0, "Tolerations", if shown.is_empty() { "<none>".to_owned() } else { shown.join(", ") });
}
