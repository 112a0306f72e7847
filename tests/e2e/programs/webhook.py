"""Admission and conversion webhooks for tests, good and bad ones.

webhook.py ADDRESS PORT=DIRECTORY...: HTTPS on each port, with tls.crt and tls.key of its directory; PORT= is plain HTTP.
The last part of a request's path says what is wrong with the answer, the part before it what is asked for.
"""

import base64
import http.server
import json
import socketserver
import ssl
import sys
import threading
import time

# Longer than any test waits for a refusal.
SILENCE_SECONDS = 60
ANSWER = {"mutate": "admission.k8s.io/v1", "validate": "admission.k8s.io/v1", "convert": "apiextensions.k8s.io/v1"}


def admitted(request, what, fault):
    """The answer of an admission webhook, `what` being one that changes objects or only judges them."""
    response = {"uid": request["uid"], "allowed": True}
    if fault == "deny":
        response.update(allowed=False, status={"code": 422, "message": "the webhook says no"})
    elif fault == "warn":
        response["warnings"] = ["the webhook warns"]
    elif fault == "badpatch":
        response.update(patch_of([{"op": "remove", "path": "/no/such/field"}]))
    elif what == "mutate" and fault == "ok":
        # A container has no labels: the parent of a path must be there.
        labels = request["object"]["metadata"].get("labels") or {}
        response.update(patch_of([{"op": "add", "path": "/metadata/labels", "value": {**labels, "seen": "yes"}}]))
    return response


def patch_of(operations):
    return {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(operations).encode()).decode()}


def converted(request, fault):
    """Between the two forms of a schedule: v1 has it as text, `MINUTE HOUR`, v2 in fields."""
    if fault == "failed":
        return {"uid": request["uid"], "result": {"status": "Failure", "message": "no way from here to there"}}
    version = request["desiredAPIVersion"]
    objects = [schedule_in(version, item) for item in request["objects"]]
    if fault == "fewer":
        objects = objects[1:]
    for item in objects:
        if fault == "renamed":
            item["metadata"]["name"] += "-else"
        elif fault == "sameversion":
            item["apiVersion"] = item["apiVersion"].split("/")[0] + "/v3"
        elif fault == "labels":
            item["metadata"]["labels"] = {"converted": "yes"}
    return {"uid": request["uid"], "convertedObjects": objects, "result": {"status": "Success"}}


def schedule_in(version, item):
    spec = dict(item.get("spec", {}))
    if version.endswith("/v2") and "schedule" in spec:
        minute, hour = spec.pop("schedule").split()
        spec.update(minute=minute, hour=hour)
    elif version.endswith("/v1") and "minute" in spec:
        spec["schedule"] = spec.pop("minute") + " " + spec.pop("hour")
    return {**item, "apiVersion": version, "spec": spec}


class Webhook(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(200, b"ready")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        what, fault = self.path.split("?")[0].split("/")[-2:]
        request = json.loads(body)["request"]
        print(json.dumps({"path": self.path, "uid": request["uid"]}), flush=True)
        if fault == "silent":
            time.sleep(SILENCE_SECONDS)
        elif fault == "cut":
            self.close_connection = True
        elif fault == "trickle":
            self.trickle()
        elif fault == "garbage":
            self.answer(200, b"no JSON at all")
        elif fault in ("500", "404"):
            self.answer(int(fault), b"broken")
        else:
            self.answer(200, json.dumps(self.review(request, what, fault)).encode())

    def review(self, request, what, fault):
        kind = "ConversionReview" if what == "convert" else "AdmissionReview"
        review = {"apiVersion": ANSWER[what], "kind": kind}
        if fault == "other":
            review.update(apiVersion="v1", kind="Pod")
        if fault != "empty":
            review["response"] = converted(request, fault) if what == "convert" else admitted(request, what, fault)
        if fault == "uid":
            review["response"]["uid"] = "another"
        return review

    def answer(self, code, body):
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def trickle(self):
        """An answer that begins at once and never ends."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        until = time.monotonic() + SILENCE_SECONDS
        while time.monotonic() < until:
            self.wfile.write(b"1\r\n \r\n")
            self.wfile.flush()
            time.sleep(0.1)

    def log_message(self, *_):
        pass


class Plain(socketserver.BaseRequestHandler):
    """HTTP without TLS: whatever comes first is no request."""

    def handle(self):
        self.request.recv(1 << 16)
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


class Server(http.server.ThreadingHTTPServer):
    def __init__(self, address, directory):
        super().__init__(address, Webhook if directory else Plain)
        if directory:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(directory + "/tls.crt", directory + "/tls.key")
            # Shaken hands with in the connection's own thread: a peer that does not speak holds up nobody else.
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, *_):
        pass  # Peers that go away are what this program is for.


def main(address, *listeners):
    for listener in listeners:
        port, directory = listener.split("=")
        threading.Thread(target=Server((address, int(port)), directory).serve_forever).start()
    print("ready", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
