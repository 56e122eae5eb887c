// Receives directory changes from Rollcall. Nothing has to be installed beside Node.js 20.6 or later:
//
//     node --env-file=rollcall.env receiver.mjs
//
// The receiving URL is then http://HOST:8770/events; put a reverse proxy with TLS in front of it.

import { createDecipheriv, createPublicKey, verify } from "node:crypto";
import { createServer } from "node:http";

const { ROLLCALL_JWKS_URL, ROLLCALL_APPLICATION_ID } = process.env;
const ISSUER = "urn:alibaba:idaas:app:event";
const encryptionKey = Buffer.from(process.env.ROLLCALL_ENCRYPTION_KEY ?? "", "hex");
const LEEWAY_SECONDS = 60;
const LARGEST_REQUEST = 8 * 1024 * 1024;

class Refused extends Error {}

// Here your application does its work. Return false to have the event sent again later.
// Create and push events mean "create or update"; everything of one bizId arrives in order.
async function apply(event) {
  const record = JSON.parse(event.bizData);
  console.log(event.eventType, event.bizId, record.username ?? record.organizationalUnitName ?? "");
  return true;
}

// Public keys by their ids. They are fetched again when an id is not among them, every 30 seconds at most:
// strangers can send any id.
let keys = new Map();
let fetchedAt = -Infinity;
async function publicKey(kid) {
  if (!keys.has(kid) && Date.now() - fetchedAt > 30_000) {
    const answer = await fetch(ROLLCALL_JWKS_URL);
    const document = await answer.json();
    keys = new Map(document.keys.map((jwk) => [jwk.kid, createPublicKey({ key: jwk, format: "jwk" })]));
    fetchedAt = Date.now();
  }
  if (!keys.has(kid)) throw new Refused("the key is not known");
  return keys.get(kid);
}

const decoded = (text) => Buffer.from(text, "base64url");

// The claims of an envelope, once the signature and they themselves are right.
async function claims(envelope) {
  const [head, body, signature] = envelope.split(".");
  const { alg, kid } = JSON.parse(decoded(head));
  if (alg !== "RS256") throw new Refused("the algorithm is not RS256");
  const key = await publicKey(kid);
  if (!verify("sha256", Buffer.from(`${head}.${body}`), key, decoded(signature))) {
    throw new Refused("the signature is wrong");
  }
  const found = JSON.parse(decoded(body));
  const now = Date.now() / 1000;
  if (found.iss !== ISSUER) throw new Refused("the issuer is another one");
  if (found.aud !== ROLLCALL_APPLICATION_ID) throw new Refused("this is for another application");
  if (found.exp < now - LEEWAY_SECONDS) throw new Refused("the envelope has expired");
  if (found.iat > now + LEEWAY_SECONDS) throw new Refused("the envelope is from the future");
  return found;
}

function payload(found) {
  if (!found.dataEncrypted) {
    if (encryptionKey.length > 0) throw new Refused("the events are not encrypted");
    return found.plainData;
  }
  const [head, , iv, text, tag] = found.cipherData.split(".");
  const decipher = createDecipheriv("aes-256-gcm", encryptionKey, decoded(iv));
  decipher.setAAD(Buffer.from(head));
  decipher.setAuthTag(decoded(tag));
  return JSON.parse(Buffer.concat([decipher.update(decoded(text)), decipher.final()]));
}

// The ids of events that were applied. Keep them in your database, in the transaction that applies the event.
const applied = new Set();

async function receive(body) {
  const found = await claims(JSON.parse(body).event);
  const answer = { successEvents: [], skippedEvents: [], failedEvents: [], retriedEvents: [] };
  for (const event of JSON.parse(payload(found).eventData)) {
    const { eventId } = event;
    const isDone = applied.has(eventId) || event.eventType.endsWith(":common:test") || (await apply(event));
    if (isDone) {
      applied.add(eventId);
      answer.successEvents.push({ eventId, eventCode: "SUCCESS", eventMessage: "" });
    } else {
      answer.retriedEvents.push({ eventId, eventCode: "not_now", eventMessage: "" });
    }
  }
  return answer;
}

const server = createServer(async (request, response) => {
  const reply = (status, body) => {
    response.writeHead(status, { "Content-Type": "application/json" });
    response.end(JSON.stringify(body));
  };
  if (request.method !== "POST" || request.url.split("?")[0] !== "/events") return reply(404, {});
  const parts = [];
  let length = 0;
  for await (const part of request) {
    length += part.length;
    if (length > LARGEST_REQUEST) return reply(413, { error: "too_large" });
    parts.push(part);
  }
  try {
    reply(200, await receive(Buffer.concat(parts).toString()));
  } catch (error) {
    console.error("refused:", error.message);
    reply(400, { error: "refused", errorDescription: error.message });
  }
});

server.listen(Number(process.env.ROLLCALL_PORT ?? 8770), process.env.ROLLCALL_HOST ?? "127.0.0.1", () => {
  console.log(`listening on port ${server.address().port}`);
});
