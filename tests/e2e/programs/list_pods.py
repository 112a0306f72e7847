"""A program as users write it with the `kubernetes` library: lists the Pods of its namespace, with nothing configured.

Lists once for every line of standard input and says `PodList NAMES` or `CODE MESSAGE`.
"""

import json
import sys

from kubernetes import client, config

config.load_incluster_config()
api = client.CoreV1Api()
with open("/var/run/secrets/kubernetes.io/serviceaccount/namespace") as file:
    namespace = file.read()

for _ in sys.stdin:
    try:
        pods = api.list_namespaced_pod(namespace)
        print("PodList", *(pod.metadata.name for pod in pods.items), flush=True)
    except client.ApiException as refused:
        print(refused.status, json.loads(refused.body)["message"], flush=True)
