"""The official client's dynamic client, with built-in and custom kinds: it knows none but by discovery.

Ends with `done`, or with the first thing that was not as it should be.
"""

import threading
import time

from kubernetes import config, watch
from kubernetes.dynamic import DynamicClient, exceptions

GROUP = "shop.example.com"
NAMESPACE = "default"
STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"
# Longer than anything here takes; what does not end fails.
PATIENCE_SECONDS = 30


def check(what, found, wanted):
    if found != wanted:
        raise SystemExit(f"{what}: {found!r}, not {wanted!r}")


def refused(what, error, call):
    try:
        call()
    except error:
        return
    raise SystemExit(f"{what}: not refused")


class Watching:
    """What a watch tells, in a thread of its own: `TYPE NAME` each."""

    def __init__(self, resource, version):
        self.told = []
        self.watcher = watch.Watch()
        self.thread = threading.Thread(target=self.run, args=(resource, version), daemon=True)
        self.thread.start()

    def run(self, resource, version):
        events = resource.watch(namespace=NAMESPACE, resource_version=version, timeout=PATIENCE_SECONDS,
                                watcher=self.watcher)
        for event in events:
            self.told.append(f"{event['type']} {event['object'].metadata.name}")
            if event["type"] == "DELETED":
                self.watcher.stop()

    def check(self, wanted):
        self.thread.join(PATIENCE_SECONDS)
        check("the watch", self.told, wanted)


def discovery(client):
    """Kinds by name, by group, by short name; subresources; all of them."""
    pods = client.resources.get(api_version="v1", kind="Pod")
    check("pods", (pods.name, pods.namespaced, "po" in pods.short_names), ("pods", True, True))
    check("subresources", {"log", "exec", "status"} <= set(pods.subresources), True)
    check("by short name", client.resources.get(short_names=["deploy"]).kind, "Deployment")
    check("two groups", {r.group for r in client.resources.search(kind="Event")}, {"", "events.k8s.io"})
    kinds = {resource.kind for resource in client.resources.search() if hasattr(resource, "kind")}
    check("all kinds", {"Pod", "Role", "CronJob", "CustomResourceDefinition"} <= kinds, True)
    check("version", client.version["kubernetes"]["minor"], "36")
    refused("no such kind", exceptions.ResourceNotFoundError,
            lambda: client.resources.get(api_version=f"{GROUP}/v1", kind="Order"))


def config_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"of": "dynamic"}}, "data": data}


def built_in(client):
    maps = client.resources.get(api_version="v1", kind="ConfigMap")
    version = maps.get(namespace=NAMESPACE).metadata.resourceVersion
    watching = Watching(maps, version)
    made = maps.create(body=config_map("one", a="1"), namespace=NAMESPACE)
    check("created", (made.kind, made.data.a), ("ConfigMap", "1"))
    refused("created twice", exceptions.ConflictError, lambda: maps.create(body=config_map("one"), namespace=NAMESPACE))
    maps.patch(body={"metadata": {"name": "one"}, "data": {"b": "2"}}, namespace=NAMESPACE, content_type=STRATEGIC)
    maps.patch(body={"data": {"a": None}}, name="one", namespace=NAMESPACE, content_type=MERGE)
    patched = maps.patch(body=[{"op": "add", "path": "/data/c", "value": "3"}], name="one", namespace=NAMESPACE,
                         content_type=JSON)
    check("patched", patched.data.to_dict(), {"b": "2", "c": "3"})
    patched.data.d = "4"
    stale = patched.to_dict()
    check("replaced", maps.replace(body=patched, namespace=NAMESPACE).data.d, "4")
    refused("replaced from the past", exceptions.ConflictError, lambda: maps.replace(body=stale, namespace=NAMESPACE))
    dry = maps.create(body=config_map("dry"), namespace=NAMESPACE, dry_run="All")
    check("dry run", dry.metadata.name, "dry")
    refused("dry run leaves nothing", exceptions.NotFoundError, lambda: maps.get(name="dry", namespace=NAMESPACE))
    listed = maps.get(namespace=NAMESPACE, label_selector="of=dynamic", field_selector="metadata.name=one")
    check("listed", [item.metadata.name for item in listed.items], ["one"])
    maps.delete(name="one", namespace=NAMESPACE, body={})
    watching.check(["ADDED one"] + ["MODIFIED one"] * 4 + ["DELETED one"])


def applied(client):
    """Server-side apply of a kind with a list of the map type."""
    deployments = client.resources.get(api_version="apps/v1", kind="Deployment")
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}},
                     "template": {"metadata": {"labels": {"app": "web"}},
                                  "spec": {"containers": [{"name": "main", "image": "one"}]}}}}
    deployments.server_side_apply(body=body, namespace=NAMESPACE, field_manager="first")
    other = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 2}}
    refused("a conflict", exceptions.ConflictError,
            lambda: deployments.server_side_apply(body=other, namespace=NAMESPACE, field_manager="second"))
    forced = deployments.server_side_apply(body=other, namespace=NAMESPACE, field_manager="second", force_conflicts=True)
    check("forced", forced.spec.replicas, 2)
    scale = deployments.scale.get(name="web", namespace=NAMESPACE)
    scale.spec.replicas = 3
    scaled = deployments.scale.replace(body=scale, name="web", namespace=NAMESPACE)
    check("scaled", (scaled.kind, scaled.spec.replicas), ("Scale", 3))
    deployments.delete(name="web", namespace=NAMESPACE, body={}, propagation_policy="Foreground")


def definition():
    spec = {"type": "object", "required": ["item"], "properties": {
        "item": {"type": "string"}, "count": {"type": "integer", "default": 1, "minimum": 1},
        "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}}}
    status = {"type": "object", "properties": {"state": {"type": "string"}}}
    schema = {"type": "object", "properties": {"spec": spec, "status": status}}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"orders.{GROUP}"},
            "spec": {"group": GROUP, "scope": "Namespaced",
                     "names": {"plural": "orders", "kind": "Order", "shortNames": ["ord"]},
                     "versions": [{"name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
                                   "schema": {"openAPIV3Schema": schema}}]}}


def custom(client):
    definitions = client.resources.get(api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition")
    definitions.create(body=definition())
    until = time.monotonic() + PATIENCE_SECONDS
    while not is_established(definitions) and time.monotonic() < until:
        time.sleep(0.05)
    # The client has looked before: it looks again for what it does not find.
    orders = client.resources.get(api_version=f"{GROUP}/v1", kind="Order")
    check("the kind", (orders.name, orders.short_names), ("orders", ["ord"]))
    listed = orders.get(namespace=NAMESPACE)
    check("an empty list", (listed.kind, listed.items), ("OrderList", []))
    watching = Watching(orders, listed.metadata.resourceVersion)
    body = {"apiVersion": f"{GROUP}/v1", "kind": "Order", "metadata": {"name": "tea"}, "spec": {"item": "tea"}}
    check("defaulted", orders.create(body=body, namespace=NAMESPACE).spec.count, 1)
    refused("an invalid object", exceptions.UnprocessibleEntityError,
            lambda: orders.patch(body={"spec": {"count": 0}}, name="tea", namespace=NAMESPACE, content_type=MERGE))
    refused("a strategic patch", exceptions.DynamicApiError,
            lambda: orders.patch(body={"spec": {"count": 2}}, name="tea", namespace=NAMESPACE, content_type=STRATEGIC))
    body["spec"]["tags"] = ["hot"]
    orders.server_side_apply(body=body, namespace=NAMESPACE, field_manager="first")
    body["spec"]["tags"] = ["sweet"]
    both = orders.server_side_apply(body=body, namespace=NAMESPACE, field_manager="second")
    check("a set of two appliers", sorted(both.spec.tags), ["hot", "sweet"])
    told = orders.status.patch(body={"status": {"state": "brewed"}}, name="tea", namespace=NAMESPACE, content_type=MERGE)
    check("status", told.status.state, "brewed")
    orders.delete(name="tea", namespace=NAMESPACE, body={})
    watching.check(["ADDED tea"] + ["MODIFIED tea"] * 3 + ["DELETED tea"])
    definitions.delete(name=f"orders.{GROUP}", body={})
    while time.monotonic() < until:
        try:
            orders.get(namespace=NAMESPACE)
        except exceptions.NotFoundError:
            return
        time.sleep(0.05)
    raise SystemExit("the kind is still served")


def is_established(definitions):
    found = definitions.get(name=f"orders.{GROUP}").to_dict()
    conditions = found.get("status", {}).get("conditions") or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


def main():
    client = DynamicClient(config.new_client_from_config())
    for part in (discovery, built_in, applied, custom):
        part(client)
    print("done")


if __name__ == "__main__":
    main()
