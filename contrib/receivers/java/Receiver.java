import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.math.BigInteger;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.RSAPublicKeySpec;
import java.sql.SQLException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.logging.Level;
import java.util.logging.Logger;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/**
 * Receives directory changes from Rollcall or Alibaba Cloud IDaaS, with the JDK alone and Jackson for JSON.
 *
 * <p>The environment says how: see {@link Settings}. Events arrive at POST /events, in the form that docs/RECEIVING.md
 * describes.
 */
final class Receiver {
    static final ObjectMapper JSON = new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);
    private static final Logger LOG = Logger.getLogger("receiver");
    /** Bytes: a hub stays below it. */
    private static final int LIMIT = 8 << 20;
    /** Seconds that the clocks may differ. */
    private static final long LEEWAY = 60;
    /** Seconds: the ids of events are remembered for longer than any envelope may be valid. */
    private static final long LIFETIME = 86_400;
    private static final String ISSUER = "urn:alibaba:idaas:app:event";

    record Settings(URI jwks, String applicationId, byte[] key, URI listen, String database, Duration refetchAfter) {
        static Settings from(Map<String, String> environment) {
            String jwks = environment.get("ROLLCALL_JWKS_URL");
            String application = environment.get("ROLLCALL_APPLICATION_ID");
            if (jwks == null || application == null) {
                throw new IllegalArgumentException(
                    "set ROLLCALL_JWKS_URL and ROLLCALL_APPLICATION_ID: `rollcall app show NAME` prints both");
            }
            String hex = environment.getOrDefault("ROLLCALL_ENCRYPTION_KEY", "").strip();
            if (!hex.matches("|([0-9a-fA-F]{16}){2,4}")) {
                throw new IllegalArgumentException("ROLLCALL_ENCRYPTION_KEY has not 64 hexadecimal digits (nor 48 nor 32)");
            }
            URI listen = URI.create("http://" + environment.getOrDefault("ROLLCALL_LISTEN", "127.0.0.1:8790"));
            double refetch = Double.parseDouble(environment.getOrDefault("ROLLCALL_JWKS_REFETCH_SECONDS", "30"));
            return new Settings(URI.create(jwks), application, hex.isEmpty() ? null : HexFormat.of().parseHex(hex),
                listen, environment.getOrDefault("ROLLCALL_DATABASE", "receiver.db"), Duration.ofMillis((long) (refetch * 1000)));
        }
    }

    /** The whole request is refused, and nothing of it is applied. */
    @SuppressWarnings("serial")
    static final class Refusal extends Exception {
        final int status;
        final String error;

        Refusal(int status, String error, String description) {
            super(description);
            this.status = status;
            this.error = error;
        }

        Refusal(String error, String description) {
            this(400, error, description);
        }
    }

    /** The hub's public keys, by their ids. Strangers can send any id, so looking for one is bounded. */
    private static final class Keys {
        private final HttpClient client = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(3)).build();
        private final Settings settings;
        private volatile Map<String, PublicKey> keys = Map.of();
        private volatile Instant askedAt = Instant.EPOCH;
        private volatile boolean isFailing;

        Keys(Settings settings) {
            this.settings = settings;
        }

        PublicKey get(String kid) throws Refusal {
            if (!keys.containsKey(kid) || askedAt.plus(Duration.ofHours(1)).isBefore(Instant.now())) {
                fetch();
            }
            PublicKey key = keys.get(kid);
            if (key == null && isFailing) {
                throw new Refusal(503, "internal_error", "the public keys cannot be fetched now; send the events again");
            }
            if (key == null) {
                throw new Refusal("unknown_key", "the JWKS document has no key " + shorten(kid));
            }
            return key;
        }

        private synchronized void fetch() {
            Duration first = Duration.ofSeconds(2);
            Duration pause = keys.isEmpty() && settings.refetchAfter.compareTo(first) > 0 ? first : settings.refetchAfter;
            if (askedAt.plus(pause).isAfter(Instant.now())) {
                return;
            }
            isFailing = true;
            try {
                HttpRequest request = HttpRequest.newBuilder(settings.jwks).timeout(Duration.ofSeconds(3)).build();
                var response = client.send(request, BodyHandlers.ofByteArray());
                if (response.statusCode() != 200) {
                    throw new IOException("the status is " + response.statusCode());
                }
                Map<String, PublicKey> found = new HashMap<>();
                for (JsonNode key : JSON.readTree(response.body()).path("keys")) {
                    if (key.path("kty").asText().equals("RSA") && key.path("use").asText("sig").equals("sig")) {
                        var numbers = new RSAPublicKeySpec(integer(key.path("n")), integer(key.path("e")));
                        found.put(key.path("kid").asText(), KeyFactory.getInstance("RSA").generatePublic(numbers));
                    }
                }
                keys = found;
                isFailing = false;
            } catch (IOException | GeneralSecurityException | IllegalArgumentException error) {
                LOG.log(Level.SEVERE, "the public keys cannot be fetched from " + settings.jwks + ": " + error);
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
            }
            askedAt = Instant.now();
        }

        private static BigInteger integer(JsonNode base64) {
            return new BigInteger(1, Base64.getUrlDecoder().decode(base64.asText()));
        }
    }

    private final Settings settings;
    private final Store store;
    private final Keys keys;

    Receiver(Settings settings, Store store) {
        this.settings = settings;
        this.store = store;
        this.keys = new Keys(settings);
    }

    /** From the body of a request to the answer. */
    ObjectNode receive(byte[] body) throws Refusal {
        JsonNode token = parse(body, "bad_request", "the body is not {\"event\":\"…\"}").path("event");
        if (!token.isTextual()) {
            throw new Refusal("bad_request", "the body is not {\"event\":\"…\"}");
        }
        JsonNode claims = verify(token.textValue());
        List<JsonNode> events = read(decrypt(claims));
        List<Store.Outcome> outcomes = store.take(events);
        for (int index = 0; index < events.size(); index++) {
            LOG.info(events.get(index).path("eventType").asText() + " " + outcomes.get(index).verdict());
        }
        return answer(events, outcomes);
    }

    // ANCHOR: verify
    /** The claims of the JWT, once nothing is left to doubt. Nothing that is not signed is looked into before. */
    private JsonNode verify(String token) throws Refusal {
        String[] parts = token.split("\\.", -1);
        if (parts.length != 3 || parts[0].length() > 4096) {
            throw new Refusal("not_a_jwt", "the event has not three parts");
        }
        JsonNode header = parse(decode(parts[0], "not_a_jwt"), "not_a_jwt", "the JWT's header cannot be read");
        // Only this algorithm: `none` proves nothing, and the key of HS256 would be the public one, which all know.
        if (!header.path("alg").asText().equals("RS256") || !header.path("kid").isTextual() || header.has("crit")) {
            throw new Refusal("wrong_algorithm", "the JWT is not signed with RS256, or has no kid, or uses extensions");
        }
        try {
            Signature signature = Signature.getInstance("SHA256withRSA");
            signature.initVerify(keys.get(header.get("kid").textValue()));
            signature.update((parts[0] + "." + parts[1]).getBytes(StandardCharsets.US_ASCII));
            if (!signature.verify(decode(parts[2], "not_a_jwt"))) {
                throw new GeneralSecurityException();
            }
        } catch (GeneralSecurityException error) {
            throw new Refusal("bad_signature", "the signature does not fit the key " + shorten(header.get("kid").textValue()));
        }
        JsonNode claims = parse(decode(parts[1], "not_a_jwt"), "malformed_claims", "the JWT's claims cannot be read");
        if (!claims.path("iss").asText().equals(ISSUER)) {
            throw new Refusal("wrong_issuer", "the issuer is not " + ISSUER);
        }
        JsonNode audience = claims.path("aud");
        boolean isMeant = audience.asText().equals(settings.applicationId);
        for (JsonNode one : audience) {
            isMeant |= one.asText().equals(settings.applicationId);
        }
        if (!isMeant) {
            throw new Refusal("wrong_audience", "the JWT is meant for another application");
        }
        if (!claims.path("iat").isNumber() || !claims.path("exp").isNumber()) {
            throw new Refusal("malformed_claims", "iat and exp are not numbers");
        }
        double now = System.currentTimeMillis() / 1000.0;
        double expires = claims.get("exp").asDouble();
        double issued = claims.get("iat").asDouble();
        if (expires + LEEWAY < now) {
            throw new Refusal("expired", "the JWT has expired");
        }
        if (issued - LEEWAY > now) {
            throw new Refusal("not_yet_valid", "the JWT is from the future: compare the clocks");
        }
        if (expires < issued || expires - issued > LIFETIME) {
            throw new Refusal("unreasonable_lifetime", "the JWT is valid for more than a day");
        }
        return claims;
    }
    // ANCHOR_END: verify

    // ANCHOR: decrypt
    /** The payload as JSON, out of the cipher or as it came. */
    private JsonNode decrypt(JsonNode claims) throws Refusal {
        byte[] key = settings.key;
        if (!claims.path("dataEncrypted").equals(JSON.getNodeFactory().booleanNode(true))) {
            if (key != null) {
                throw new Refusal("not_encrypted", "the events are not encrypted, but this application requires it");
            }
            return claims.path("plainData");
        }
        if (key == null) {
            throw new Refusal("no_decryption_key", "the events are encrypted, but this application has no key");
        }
        // A compact JWE: header, encrypted key (none), initialization vector, data, tag.
        String[] parts = claims.path("cipherData").asText().split("\\.", -1);
        if (parts.length != 5) {
            throw new Refusal("malformed_jwe", "the JWE has not five parts");
        }
        JsonNode header = parse(decode(parts[0], "malformed_jwe"), "malformed_jwe", "the JWE's header cannot be read");
        byte[] vector = decode(parts[2], "malformed_jwe");
        byte[] tag = decode(parts[4], "malformed_jwe");
        boolean isKnown = header.path("alg").asText().equals("dir") && parts[1].isEmpty()
            && !header.has("zip") && !header.has("crit")
            && header.path("enc").asText().equals("A" + key.length * 8 + "GCM");
        // The length of the tag is ours to say: a shorter one would be easier to guess.
        if (!isKnown || vector.length != 12 || tag.length != 16) {
            throw new Refusal("malformed_jwe", "the JWE is not of alg dir and of the enc that fits the key");
        }
        try {
            Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");
            cipher.init(Cipher.DECRYPT_MODE, new SecretKeySpec(key, "AES"), new GCMParameterSpec(128, vector));
            cipher.updateAAD(parts[0].getBytes(StandardCharsets.US_ASCII));
            byte[] data = decode(parts[3], "malformed_jwe");
            // Java wants the tag at the end of the data.
            byte[] plain = cipher.doFinal(ByteBuffer.allocate(data.length + tag.length).put(data).put(tag).array());
            return parse(plain, "malformed_payload", "the payload is not JSON");
        } catch (GeneralSecurityException error) {
            throw new Refusal("undecryptable", "the events cannot be decrypted: the keys differ, or the data was altered");
        }
    }
    // ANCHOR_END: decrypt

    /** The events: strings that hold JSON, inside each other. The answer names each by its id, so it must have one. */
    private static List<JsonNode> read(JsonNode payload) throws Refusal {
        String description = "the payload is not an object with a list of events in eventData";
        JsonNode data = inside(payload, description).path("eventData");
        List<JsonNode> events = new ArrayList<>();
        for (JsonNode event : inside(data, description)) {
            JsonNode id = event.path("eventId");
            if (!id.isTextual() || id.textValue().isEmpty() || id.textValue().getBytes(StandardCharsets.UTF_8).length > 256) {
                throw new Refusal("malformed_payload", "an event has no eventId, or one of more than 256 bytes");
            }
            events.add(event);
        }
        if (!inside(data, description).isArray()) {
            throw new Refusal("malformed_payload", description);
        }
        return events;
    }

    // ANCHOR: answer
    /** Each event in one of four lists: done, not handled here, never possible, and wanted again. */
    private static ObjectNode answer(List<JsonNode> events, List<Store.Outcome> outcomes) {
        ObjectNode answer = JSON.createObjectNode();
        for (Store.Verdict verdict : Store.Verdict.values()) {
            answer.putArray(verdict + "Events");
        }
        for (int index = 0; index < events.size(); index++) {
            Store.Outcome outcome = outcomes.get(index);
            String code = switch (outcome.verdict()) {
                case success -> "SUCCESS";
                case skipped -> "auto_skipped";
                case failed -> "malformed_data";
                case retried -> "exception";
            };
            answer.withArray(outcome.verdict() + "Events").addObject()
                .put("eventId", events.get(index).get("eventId").textValue())
                .put("eventCode", code)
                .put("eventMessage", outcome.message());
        }
        return answer;
    }
    // ANCHOR_END: answer

    private static JsonNode inside(JsonNode value, String description) throws Refusal {
        byte[] text = value.isTextual() ? value.textValue().getBytes(StandardCharsets.UTF_8) : null;
        return text == null ? value : parse(text, "malformed_payload", description);
    }

    private static JsonNode parse(byte[] json, String error, String description) throws Refusal {
        try {
            return JSON.readTree(json);
        } catch (IOException unreadable) {
            throw new Refusal(error, description);
        }
    }

    private static byte[] decode(String base64, String error) throws Refusal {
        try {
            return Base64.getUrlDecoder().decode(base64);
        } catch (IllegalArgumentException unreadable) {
            throw new Refusal(error, "a part is not base64url");
        }
    }

    /** What a stranger wrote, for the log and the answer: not much of it, and no line of its own. */
    private static String shorten(String text) {
        return TextNode.valueOf(text.substring(0, Math.min(text.length(), 80))).toString();
    }

    private void handle(HttpExchange exchange) throws IOException {
        int status = 200;
        JsonNode reply;
        try {
            reply = route(exchange);
        } catch (Refusal refusal) {
            if (exchange.getRequestMethod().equals("POST")) {
                LOG.warning("refused: " + refusal.error + ": " + refusal.getMessage());
            }
            status = refusal.status;
            reply = JSON.createObjectNode().put("error", refusal.error).put("errorDescription", refusal.getMessage());
        } catch (Exception error) {
            LOG.log(Level.SEVERE, "a request could not be processed", error);
            status = 500;
            reply = JSON.createObjectNode().put("error", "internal_error")
                .put("errorDescription", "the request could not be processed");
        }
        byte[] body = JSON.writeValueAsBytes(reply);
        exchange.getResponseHeaders().set("Content-Type", "application/json;charset=utf-8");
        exchange.sendResponseHeaders(status, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }

    private JsonNode route(HttpExchange exchange) throws Exception {
        String path = exchange.getRequestURI().getPath();
        String method = exchange.getRequestMethod();
        if (method.equals("POST") && path.equals("/events")) {
            return receive(body(exchange.getRequestBody()));
        }
        if (method.equals("GET") && path.startsWith("/users/")) {
            // For tests on the same machine: whoever else asks learns nothing.
            if (!exchange.getRemoteAddress().getAddress().isLoopbackAddress()) {
                throw new Refusal(403, "forbidden", "only for this machine");
            }
            JsonNode user = store.user(path.substring("/users/".length()));
            if (user == null) {
                throw new Refusal(404, "not_found", "no such user is stored");
            }
            return user;
        }
        throw new Refusal(404, "not_found", "events arrive at POST /events");
    }

    private static byte[] body(InputStream body) throws Refusal {
        try {
            byte[] bytes = body.readNBytes(LIMIT + 1);
            if (bytes.length > LIMIT) {
                // Whoever is still sending does not read the answer, so some more is read and thrown away.
                body.readNBytes(LIMIT);
                throw new Refusal(413, "too_large", "at most " + LIMIT + " bytes are accepted");
            }
            return bytes;
        } catch (IOException error) {
            throw new Refusal("bad_request", "the request broke off before its end");
        }
    }

    public static void main(String[] arguments) {
        System.setProperty("java.util.logging.SimpleFormatter.format", "%1$tFT%1$tT %4$s %5$s%6$s%n");
        // A request that takes longer than hubs wait is cut off, so that nobody holds a thread (seconds).
        System.setProperty("sun.net.httpserver.maxReqTime", "20");
        try {
            Settings settings = Settings.from(System.getenv());
            Store store = new Store(settings.database);
            var address = new InetSocketAddress(settings.listen.getHost(), settings.listen.getPort());
            HttpServer server = HttpServer.create(address, 0);
            server.setExecutor(Executors.newFixedThreadPool(16));
            server.createContext("/", new Receiver(settings, store)::handle);
            server.start();
            // Requests under way get a second; what was answered is on the disk already.
            Runtime.getRuntime().addShutdownHook(new Thread(() -> server.stop(1)));
            LOG.info("receiving at " + settings.listen + "/events");
        } catch (IllegalArgumentException | IOException | SQLException error) {
            System.err.println("error: " + error.getMessage());
            System.exit(1);
        }
    }
}
