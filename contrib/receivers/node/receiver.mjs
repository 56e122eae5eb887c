// Receives directory changes from Rollcall or Alibaba Cloud IDaaS, with Express and jose.
//
//     node receiver.mjs
//
// The environment says how: see settings(). Events arrive at POST /events, in the form that docs/RECEIVING.md
// describes.

import { isUtf8 } from "node:buffer";
import express from "express";
import { compactDecrypt, createRemoteJWKSet, errors, jwtVerify } from "jose";
import { Store } from "./store.mjs";

const LIMIT = 8 << 20; // bytes: a hub stays below it
const ISSUER = "urn:alibaba:idaas:app:event";
const CODES = { success: "SUCCESS", skipped: "auto_skipped", failed: "malformed_data", retried: "exception" };

function settings(environment) {
  const { ROLLCALL_JWKS_URL: jwksUrl, ROLLCALL_APPLICATION_ID: applicationId } = environment;
  if (!jwksUrl || !applicationId) {
    throw new Error("set ROLLCALL_JWKS_URL and ROLLCALL_APPLICATION_ID: `rollcall app show NAME` prints both");
  }
  const hex = environment.ROLLCALL_ENCRYPTION_KEY?.trim();
  if (hex && !/^([0-9a-f]{32}|[0-9a-f]{48}|[0-9a-f]{64})$/i.test(hex)) {
    throw new Error("ROLLCALL_ENCRYPTION_KEY has not 64 hexadecimal digits (nor 48 nor 32)");
  }
  const listen = environment.ROLLCALL_LISTEN || "127.0.0.1:8790";
  return {
    jwksUrl: new URL(jwksUrl),
    applicationId,
    key: hex ? Buffer.from(hex, "hex") : undefined,
    host: listen.slice(0, listen.lastIndexOf(":")).replace(/^\[(.*)\]$/, "$1"),
    port: Number(listen.slice(listen.lastIndexOf(":") + 1)),
    listen,
    database: environment.ROLLCALL_DATABASE || "receiver.db",
    refetchMs: Number(environment.ROLLCALL_JWKS_REFETCH_SECONDS || 30) * 1000,
  };
}

/** The whole request is refused, and nothing of it is applied. */
class Refusal extends Error {
  constructor(code, message, status = 400) {
    super(message);
    Object.assign(this, { code, status });
  }
}

class Receiver {
  #settings;
  #store;
  #jwks;

  constructor(settings, store) {
    this.#settings = settings;
    this.#store = store;
    // Fetched again for a kid that is not in it, but not more often than this: strangers can send any kid.
    this.#jwks = createRemoteJWKSet(settings.jwksUrl, {
      cooldownDuration: settings.refetchMs,
      cacheMaxAge: 3_600_000,
      timeoutDuration: 3000,
    });
  }

  /** From the body of a request to the answer. */
  async receive(body) {
    const token = parse(body, () => new Refusal("bad_request", 'the body is not {"event":"…"}'))?.event;
    if (typeof token !== "string") throw new Refusal("bad_request", 'the body is not {"event":"…"}');
    const claims = await this.#verify(token);
    const events = this.#read(await this.#decrypt(claims));
    const outcomes = this.#store.take(events);
    events.forEach((event, index) => console.log(`${event.eventType} ${outcomes[index].list}`));
    return this.#answer(events, outcomes);
  }

  // ANCHOR: verify
  /** The claims of the JWT, once nothing is left to doubt. Nothing that is not signed is looked into before. */
  async #verify(token) {
    try {
      const { payload } = await jwtVerify(token, (header, jws) => this.#key(header, jws), {
        // Only this algorithm: `none` proves nothing, and the key of HS256 would be the public one, which all know.
        algorithms: ["RS256"],
        issuer: ISSUER,
        audience: this.#settings.applicationId,
        requiredClaims: ["exp", "iat"],
        clockTolerance: 60,
        // With this, an `iat` in the future is refused too.
        maxTokenAge: "1 day",
      });
      // The ids of events are remembered for longer than any envelope may be valid.
      if (payload.exp < payload.iat || payload.exp - payload.iat > 86_400) {
        throw new Refusal("unreasonable_lifetime", "the JWT is valid for more than a day");
      }
      return payload;
    } catch (error) {
      if (error instanceof Refusal) throw error;
      if (error instanceof errors.JWTExpired) throw new Refusal("expired", error.message);
      if (error instanceof errors.JWTClaimValidationFailed) throw new Refusal(`wrong_${error.claim}`, error.message);
      if (error instanceof errors.JWSSignatureVerificationFailed) throw new Refusal("bad_signature", error.message);
      throw new Refusal("not_a_jwt", `the event is not a JWT that is accepted: ${error.message}`.slice(0, 300));
    }
  }

  async #key(header, jws) {
    if (typeof header.kid !== "string") throw new Refusal("unknown_key", "the JWT has no kid");
    try {
      return await this.#jwks(header, jws);
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey) {
        throw new Refusal("unknown_key", `the JWKS document has no key ${JSON.stringify(header.kid.slice(0, 80))}`);
      }
      console.error(`the public keys cannot be fetched from ${this.#settings.jwksUrl}: ${error.message}`);
      throw new Refusal("internal_error", "the public keys cannot be fetched now; send the events again", 503);
    }
  }
  // ANCHOR_END: verify

  // ANCHOR: decrypt
  /** The payload as JSON, out of the cipher or as it came. */
  async #decrypt(claims) {
    const { key } = this.#settings;
    if (claims.dataEncrypted !== true) {
      if (key) throw new Refusal("not_encrypted", "the events are not encrypted, but this application requires it");
      return claims.plainData;
    }
    if (!key) throw new Refusal("no_decryption_key", "the events are encrypted, but this application has no key");
    try {
      const { plaintext } = await compactDecrypt(claims.cipherData, key, {
        keyManagementAlgorithms: ["dir"],
        contentEncryptionAlgorithms: [`A${key.length * 8}GCM`],
      });
      return plaintext;
    } catch (error) {
      throw new Refusal("undecryptable", `the events cannot be decrypted: ${error.message}`.slice(0, 300));
    }
  }
  // ANCHOR_END: decrypt

  /** The events: strings that hold JSON, inside each other. The answer names each by its id, so it must have one. */
  #read(payload) {
    const refusal = () =>
      new Refusal("malformed_payload", "the payload is not an object with a list of events in eventData");
    const data = parse(payload, refusal)?.eventData;
    const events = parse(data, refusal);
    const isNamed = (event) =>
      typeof event?.eventId === "string" &&
      event.eventId.isWellFormed() &&
      event.eventId !== "" &&
      Buffer.byteLength(event.eventId) <= 256;
    if (!Array.isArray(events) || !events.every(isNamed)) throw refusal();
    return events;
  }

  // ANCHOR: answer
  /** Each event in one of four lists: done, not handled here, never possible, and wanted again. */
  #answer(events, outcomes) {
    const answer = { successEvents: [], skippedEvents: [], failedEvents: [], retriedEvents: [] };
    events.forEach(({ eventId }, index) => {
      const { list, message } = outcomes[index];
      answer[`${list}Events`].push({ eventId, eventCode: CODES[list], eventMessage: message });
    });
    return answer;
  }
  // ANCHOR_END: answer
}

/** What bytes or a string hold as JSON; anything else is taken for what it is already. */
function parse(value, refusal) {
  try {
    if (value instanceof Uint8Array && !isUtf8(value)) throw refusal();
    if (value instanceof Uint8Array) return JSON.parse(Buffer.from(value).toString("utf8"));
    return typeof value === "string" ? JSON.parse(value) : value;
  } catch {
    throw refusal();
  }
}

function makeApp(receiver, store) {
  const app = express();
  app.disable("x-powered-by");
  const reply = (response, status, body) => {
    response.status(status).set("Content-Type", "application/json;charset=utf-8").end(JSON.stringify(body));
  };

  // The type does not matter, and a compressed body could be larger than it says.
  app.post("/events", express.raw({ type: () => true, limit: LIMIT, inflate: false }), async (request, response) => {
    reply(response, 200, await receiver.receive(request.body ?? Buffer.alloc(0)));
  });

  app.get("/users/:id", (request, response) => {
    // For tests on the same machine: whoever else asks learns nothing.
    const isLoopback = /^(::1|(::ffff:)?127\..*)$/.test(request.socket.remoteAddress);
    if (!isLoopback) throw new Refusal("forbidden", "only for this machine", 403);
    const user = store.user(request.params.id);
    if (!user) throw new Refusal("not_found", "no such user is stored", 404);
    reply(response, 200, user);
  });

  app.use(() => {
    throw new Refusal("not_found", "events arrive at POST /events", 404);
  });

  app.use((error, request, response, next) => {
    if (response.headersSent) return next(error);
    // Express has a status for what is wrong with a request, such as 413.
    const status = error.status ?? 500;
    if (status === 500) console.error(error);
    else if (request.method === "POST") console.warn(`refused: ${error.message}`);
    const code =
      error instanceof Refusal
        ? error.code
        : status === 413
          ? "too_large"
          : status === 500
            ? "internal_error"
            : "bad_request";
    reply(response, status, {
      error: code,
      errorDescription: status === 500 ? "the request could not be processed" : error.message,
    });
  });
  return app;
}

// A log that cannot be written, as when its disk is full, is no reason to end.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});

try {
  const configured = settings(process.env);
  const store = new Store(configured.database);
  const app = makeApp(new Receiver(configured, store), store);
  const server = app.listen(configured.port, configured.host, (error) => {
    if (error) {
      console.error(`error: ${error.message}`);
      process.exit(1);
    }
    console.log(`receiving at http://${configured.listen}/events`);
  });
  for (const signal of ["SIGTERM", "SIGINT"]) {
    process.on(signal, () => server.close(() => store.close()));
  }
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
}
