"""Receives directory changes from Rollcall or Alibaba Cloud IDaaS, with Flask and joserfc.

    python receiver.py

The environment says how: see Settings. Events arrive at POST /events, in the form that docs/RECEIVING.md describes.
"""

import ipaddress
import json
import logging
import os
import re
import signal
import sqlite3
import sys
import threading
import time
import urllib.request

import flask
import waitress
from joserfc import jwe, jws
from joserfc.errors import JoseError
from joserfc.jwk import OctKey, RSAKey
from werkzeug.exceptions import HTTPException

from store import Store

LIMIT = 8 << 20  # bytes: a hub stays below it
LEEWAY = 60  # seconds that the clocks may differ
LIFETIME = 86_400  # seconds: the ids of events are remembered for longer than any envelope may be valid
ISSUER = "urn:alibaba:idaas:app:event"
CODES = {"success": "SUCCESS", "skipped": "auto_skipped", "failed": "malformed_data", "retried": "exception"}
log = logging.getLogger("receiver")


class Settings:
    def __init__(self, environment):
        self.jwks_url = environment.get("ROLLCALL_JWKS_URL")
        self.application_id = environment.get("ROLLCALL_APPLICATION_ID")
        if not self.jwks_url or not self.application_id:
            raise ValueError("set ROLLCALL_JWKS_URL and ROLLCALL_APPLICATION_ID: `rollcall app show NAME` prints both")
        self.key = None
        if text := environment.get("ROLLCALL_ENCRYPTION_KEY"):
            if not re.fullmatch("(?:[0-9a-fA-F]{16}){2,4}", text.strip()):
                raise ValueError("ROLLCALL_ENCRYPTION_KEY has not 64 hexadecimal digits (nor 48 nor 32)")
            key = bytes.fromhex(text.strip())
            self.key, self.cipher = OctKey.import_key(key), f"A{len(key) * 8}GCM"
        self.listen = environment.get("ROLLCALL_LISTEN", "127.0.0.1:8790")
        self.database = environment.get("ROLLCALL_DATABASE", "receiver.db")
        self.refetch_after = float(environment.get("ROLLCALL_JWKS_REFETCH_SECONDS", "30"))


class Refusal(Exception):
    """The whole request is refused, and nothing of it is applied."""

    def __init__(self, error, description, status=400):
        super().__init__(description)
        self.error, self.description, self.status = error, description, status


class Keys:
    """The hub's public keys, by their ids. Strangers can send any id, so looking for one is bounded."""

    def __init__(self, url, refetch_after):
        self._url, self._refetch_after = url, refetch_after
        self._keys, self._asked_at, self._failing = {}, float("-inf"), False
        self._lock = threading.Lock()

    def get(self, kid):
        if kid not in self._keys or time.monotonic() - self._asked_at > 3600:
            self._refetch()
        key = self._keys.get(kid)
        if key is None and self._failing:
            raise Refusal("internal_error", "the public keys cannot be fetched now; send the events again", 503)
        if key is None:
            raise Refusal("unknown_key", f"the JWKS document has no key {kid[:80]!r}")
        return key

    def _refetch(self):
        with self._lock:
            pause = self._refetch_after if self._keys else min(self._refetch_after, 2)
            if time.monotonic() - self._asked_at < pause:
                return
            self._failing = True
            try:
                with urllib.request.urlopen(self._url, timeout=3) as response:
                    keys = json.load(response)["keys"]
                usable = (key for key in keys if key.get("kty") == "RSA" and key.get("use", "sig") == "sig")
                self._keys = {key["kid"]: RSAKey.import_key(key) for key in usable}
                self._failing = False
            except (OSError, ValueError, KeyError, TypeError, AttributeError, JoseError) as error:
                log.error("the public keys cannot be fetched from %s: %s", self._url, error)
            self._asked_at = time.monotonic()


# The library's own limits are too low for 500 events, and it refuses header fields that it does not know.
JWS = jws.JWSRegistry(algorithms=["RS256"], strict_check_header=False)
JWS.max_header_length, JWS.max_payload_length = 4096, LIMIT


class Receiver:
    def __init__(self, settings, store):
        self._settings, self._store = settings, store
        self._keys = Keys(settings.jwks_url, settings.refetch_after)

    def receive(self, body):
        """From the body of a request to the answer."""
        try:
            token = json.loads(body)["event"].encode("ascii")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise Refusal("bad_request", 'the body is not {"event":"…"}') from None
        claims = self._verify(token)
        events = self._read(self._decrypt(claims))
        outcomes = self._store.take(events)
        for event, (name, _) in zip(events, outcomes, strict=True):
            log.info("%s %s", event.get("eventType"), name)
        return self._answer(events, outcomes)

    # ANCHOR: verify
    def _verify(self, token):
        """The claims of the JWT, once nothing is left to doubt. Nothing that is not signed is looked into before."""
        try:
            envelope = jws.extract_compact(token, registry=JWS)
            header = envelope.headers()
            # Only this algorithm: `none` proves nothing, and the key of HS256 would be the public one, which all know.
            if header.get("alg") != "RS256" or not isinstance(header.get("kid"), str) or "crit" in header:
                raise Refusal("wrong_algorithm", "the JWT is not signed with RS256, or has no kid, or uses extensions")
            if not jws.validate_compact(envelope, self._keys.get(header["kid"]), registry=JWS):
                raise Refusal("bad_signature", f"the signature of the key {header['kid']!r} does not fit")
            claims = json.loads(envelope.payload)
        except (JoseError, ValueError, RecursionError) as error:
            raise Refusal("not_a_jwt", f"the event is not a JWT: {error}"[:300]) from None
        if not isinstance(claims, dict) or claims.get("iss") != ISSUER:
            raise Refusal("wrong_issuer", f"the issuer is not {ISSUER}")
        audience = claims.get("aud")
        if self._settings.application_id not in (audience if isinstance(audience, list) else [audience]):
            raise Refusal("wrong_audience", "the JWT is meant for another application")
        now, issued, expires = time.time(), claims.get("iat"), claims.get("exp")
        if type(issued) not in (int, float) or type(expires) not in (int, float):
            raise Refusal("malformed_claims", "iat and exp are not numbers")
        if expires + LEEWAY < now:
            raise Refusal("expired", "the JWT has expired")
        if issued - LEEWAY > now:
            raise Refusal("not_yet_valid", "the JWT is from the future: compare the clocks")
        if not 0 <= expires - issued <= LIFETIME:
            raise Refusal("unreasonable_lifetime", "the JWT is valid for more than a day")
        return claims

    # ANCHOR_END: verify

    # ANCHOR: decrypt
    def _decrypt(self, claims):
        """The payload as JSON, out of the cipher or as it came."""
        key = self._settings.key
        if claims.get("dataEncrypted") is not True:
            if key is not None:
                raise Refusal("not_encrypted", "the events are not encrypted, but this application requires it")
            return claims.get("plainData")
        if key is None:
            raise Refusal("no_decryption_key", "the events are encrypted, but this application has no key")
        try:
            registry = jwe.JWERegistry(algorithms=["dir", self._settings.cipher])
            registry.max_ciphertext_length = LIMIT
            return jwe.decrypt_compact(claims.get("cipherData"), key, registry=registry).plaintext
        except (JoseError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise Refusal("undecryptable", f"the events cannot be decrypted: {error}"[:300]) from None

    # ANCHOR_END: decrypt

    @staticmethod
    def _read(payload):
        """The events: strings that hold JSON, in each other. The answer names each by its id, so it must have one."""
        try:
            payload = json.loads(payload) if isinstance(payload, (str, bytes)) else payload
            events = payload["eventData"]
            events = json.loads(events) if isinstance(events, str) else events
            json.dumps(events, ensure_ascii=False).encode()
            if isinstance(events, list) and all(1 <= len(event["eventId"].encode()) <= 256 for event in events):
                return events
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            pass
        raise Refusal("malformed_payload", "the payload is not an object with a list of events in eventData")

    # ANCHOR: answer
    @staticmethod
    def _answer(events, outcomes):
        """Each event in one of four lists: done, not handled here, never possible, and wanted again."""
        answer = {f"{name}Events": [] for name in CODES}
        for event, (name, message) in zip(events, outcomes, strict=True):
            item = {"eventId": event["eventId"], "eventCode": CODES[name], "eventMessage": message}
            answer[f"{name}Events"].append(item)
        return answer

    # ANCHOR_END: answer


def make_app(receiver, store):
    app = flask.Flask("receiver")
    app.config["MAX_CONTENT_LENGTH"] = LIMIT
    app.json.mimetype = "application/json;charset=utf-8"

    @app.post("/events")
    def events():
        return receiver.receive(flask.request.get_data(cache=False))

    @app.get("/users/<id>")
    def user(id):
        # For tests on the same machine: whoever else asks learns nothing.
        if not ipaddress.ip_address(flask.request.remote_addr).is_loopback:
            raise Refusal("forbidden", "only for this machine", 403)
        found = store.user(id)
        if found is None:
            raise Refusal("not_found", "no such user is stored", 404)
        return found

    @app.errorhandler(Refusal)
    def refused(refusal):
        if flask.request.method == "POST":
            log.warning("refused: %s: %s", refusal.error, refusal.description)
        return {"error": refusal.error, "errorDescription": refusal.description}, refusal.status

    @app.errorhandler(HTTPException)
    def http_error(error):
        return {"error": error.name.lower().replace(" ", "_"), "errorDescription": error.description}, error.code

    @app.errorhandler(Exception)
    def failed(error):
        log.exception("a request could not be processed")
        return {"error": "internal_error", "errorDescription": "the request could not be processed"}, 500

    return app


def main():
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    try:
        settings = Settings(os.environ)
        store = Store(settings.database)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        app = make_app(Receiver(settings, store), store)
        # One process with threads: the store has one connection.
        server = waitress.create_server(app, listen=settings.listen, threads=16, max_request_body_size=8 * LIMIT)
        log.info("receiving at http://%s/events", settings.listen)
        server.run()
    except (ValueError, OSError, sqlite3.Error) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
