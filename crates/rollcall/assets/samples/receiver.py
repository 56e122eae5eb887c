"""Receives directory changes from Rollcall. Python 3.9 or later, with one package:

    pip install cryptography
    set -a; . ./rollcall.env; set +a
    python3 receiver.py

The receiving URL is then http://HOST:8770/events; put a reverse proxy with TLS in front of it.
"""

import base64
import json
import os
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

JWKS_URL = os.environ["ROLLCALL_JWKS_URL"]
APPLICATION_ID = os.environ["ROLLCALL_APPLICATION_ID"]
ISSUER = "urn:alibaba:idaas:app:event"
ENCRYPTION_KEY = bytes.fromhex(os.environ.get("ROLLCALL_ENCRYPTION_KEY", ""))
LEEWAY_SECONDS = 60
LARGEST_REQUEST = 8 * 1024 * 1024


class Refused(Exception):
    """A request that is not from the hub, or not for this application."""


def apply(event):
    """Here your application does its work. Return False to have the event sent again later.

    Create and push events mean "create or update"; everything of one bizId arrives in order.
    """
    record = json.loads(event["bizData"])
    name = record.get("username") or record.get("organizationalUnitName") or ""
    print(event["eventType"], event["bizId"], name, flush=True)
    return True


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def number(text):
    return int.from_bytes(decoded(text), "big")


class Keys:
    """Public keys by their ids. They are fetched again when an id is not among them, every 30 seconds at
    most: strangers can send any id."""

    def __init__(self):
        self.lock = threading.Lock()
        self.keys = {}
        self.fetched_at = None

    def get(self, kid):
        with self.lock:
            is_due = self.fetched_at is None or time.monotonic() - self.fetched_at > 30
            if kid not in self.keys and is_due:
                with urllib.request.urlopen(JWKS_URL, timeout=10) as answer:
                    document = json.load(answer)
                self.keys = {
                    jwk["kid"]: rsa.RSAPublicNumbers(number(jwk["e"]), number(jwk["n"])).public_key()
                    for jwk in document["keys"]
                }
                self.fetched_at = time.monotonic()
            if kid not in self.keys:
                raise Refused("the key is not known")
            return self.keys[kid]


KEYS = Keys()


def claims(envelope):
    """The claims of an envelope, once the signature and they themselves are right."""
    head, body, signature = envelope.split(".")
    header = json.loads(decoded(head))
    if header["alg"] != "RS256":
        raise Refused("the algorithm is not RS256")
    key = KEYS.get(header["kid"])
    # Raises InvalidSignature.
    key.verify(decoded(signature), f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
    found = json.loads(decoded(body))
    now = time.time()
    if found["iss"] != ISSUER:
        raise Refused("the issuer is another one")
    if found["aud"] != APPLICATION_ID:
        raise Refused("this is for another application")
    if found["exp"] < now - LEEWAY_SECONDS:
        raise Refused("the envelope has expired")
    if found["iat"] > now + LEEWAY_SECONDS:
        raise Refused("the envelope is from the future")
    return found


def payload(found):
    if not found["dataEncrypted"]:
        if ENCRYPTION_KEY:
            raise Refused("the events are not encrypted")
        return found["plainData"]
    head, _, iv, text, tag = found["cipherData"].split(".")
    sealed = decoded(text) + decoded(tag)
    return json.loads(AESGCM(ENCRYPTION_KEY).decrypt(decoded(iv), sealed, head.encode()))


# The ids of events that were applied. Keep them in your database, in the transaction that applies the event.
APPLIED = set()


def receive(body):
    found = claims(json.loads(body)["event"])
    answer = {"successEvents": [], "skippedEvents": [], "failedEvents": [], "retriedEvents": []}
    for event in json.loads(payload(found)["eventData"]):
        event_id = event["eventId"]
        is_test = event["eventType"].endswith(":common:test")
        if event_id in APPLIED or is_test or apply(event):
            APPLIED.add(event_id)
            answer["successEvents"].append({"eventId": event_id, "eventCode": "SUCCESS", "eventMessage": ""})
        else:
            answer["retriedEvents"].append({"eventId": event_id, "eventCode": "not_now", "eventMessage": ""})
    return answer


class Requests(BaseHTTPRequestHandler):
    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        if self.path.split("?")[0] != "/events":
            return self.reply(404, {})
        if length > LARGEST_REQUEST:
            return self.reply(413, {"error": "too_large"})
        try:
            self.reply(200, receive(self.rfile.read(length)))
        except Exception as error:  # Whatever cannot be read is refused.
            reason = str(error) or type(error).__name__
            print("refused:", reason, flush=True)
            self.reply(400, {"error": "refused", "errorDescription": reason})

    def reply(self, status, answer):
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Requests are not logged: what was applied is."""


if __name__ == "__main__":
    place = (os.environ.get("ROLLCALL_HOST", "127.0.0.1"), int(os.environ.get("ROLLCALL_PORT", "8770")))
    with ThreadingHTTPServer(place, Requests) as server:
        print(f"listening on port {server.server_port}", flush=True)
        server.serve_forever()
