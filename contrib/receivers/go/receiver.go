// Receives directory changes from Rollcall or Alibaba Cloud IDaaS, with the standard library alone (and a driver for
// SQLite in store.go).
//
// The environment says how: see readSettings. Events arrive at POST /events, in the form that docs/RECEIVING.md
// describes.
package main

import (
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rsa"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	limit    = 8 << 20          // bytes: a hub stays below it
	leeway   = 60 * time.Second // that the clocks may differ
	lifetime = 24 * time.Hour   // the ids of events are remembered for longer than any envelope may be valid
	issuer   = "urn:alibaba:idaas:app:event"
)

type settings struct {
	jwksURL, applicationID, listen, database string
	key                                      []byte
	refetchAfter                             time.Duration
}

func readSettings() (settings, error) {
	variable := func(name, otherwise string) string {
		if value := os.Getenv(name); value != "" {
			return value
		}
		return otherwise
	}
	s := settings{
		jwksURL:       os.Getenv("ROLLCALL_JWKS_URL"),
		applicationID: os.Getenv("ROLLCALL_APPLICATION_ID"),
		listen:        variable("ROLLCALL_LISTEN", "127.0.0.1:8790"),
		database:      variable("ROLLCALL_DATABASE", "receiver.db"),
	}
	if s.jwksURL == "" || s.applicationID == "" {
		return s, errors.New("set ROLLCALL_JWKS_URL and ROLLCALL_APPLICATION_ID: `rollcall app show NAME` prints both")
	}
	key, err := hex.DecodeString(strings.TrimSpace(os.Getenv("ROLLCALL_ENCRYPTION_KEY")))
	if err != nil || len(key) != 0 && len(key) != 16 && len(key) != 24 && len(key) != 32 {
		return s, errors.New("ROLLCALL_ENCRYPTION_KEY has not 64 hexadecimal digits (nor 48 nor 32)")
	}
	s.key = key
	seconds, err := strconv.ParseFloat(variable("ROLLCALL_JWKS_REFETCH_SECONDS", "30"), 64)
	s.refetchAfter = time.Duration(seconds * float64(time.Second))
	return s, err
}

// A refusal of the whole request: nothing of it is applied.
type refusal struct {
	status      int
	name        string
	description string
}

func (r refusal) Error() string { return r.name + ": " + r.description }

func refuse(name, format string, arguments ...any) error {
	return refusal{http.StatusBadRequest, name, fmt.Sprintf(format, arguments...)}
}

// The hub's public keys, by their ids. Strangers can send any id, so looking for one is bounded.
type keySource struct {
	settings  settings
	client    http.Client
	fetching  sync.Mutex // so that one fetches for all
	mutex     sync.Mutex // of the fields below; not held while fetching, so that nobody waits whose key is known
	keys      map[string]*rsa.PublicKey
	askedAt   time.Time
	isFailing bool
}

func (k *keySource) get(kid string) (*rsa.PublicKey, error) {
	key, isFailing, age := k.look(kid)
	if key == nil || age > time.Hour {
		k.fetch()
		key, isFailing, _ = k.look(kid)
	}
	switch {
	case key != nil:
		return key, nil
	case isFailing:
		description := "the public keys cannot be fetched now; send the events again"
		return nil, refusal{http.StatusServiceUnavailable, "internal_error", description}
	default:
		return nil, refuse("unknown_key", "the JWKS document has no key %.80q", kid)
	}
}

func (k *keySource) look(kid string) (key *rsa.PublicKey, isFailing bool, age time.Duration) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return k.keys[kid], k.isFailing, time.Since(k.askedAt)
}

func (k *keySource) fetch() {
	k.fetching.Lock()
	defer k.fetching.Unlock()
	pause := k.settings.refetchAfter
	if len(k.keys) == 0 && pause > 2*time.Second {
		pause = 2 * time.Second
	}
	if time.Since(k.askedAt) < pause {
		return
	}
	keys, err := k.download()
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.askedAt, k.isFailing = time.Now(), err != nil
	if err != nil {
		log.Printf("the public keys cannot be fetched from %s: %v", k.settings.jwksURL, err)
		return
	}
	k.keys = keys
}

func (k *keySource) download() (map[string]*rsa.PublicKey, error) {
	response, err := k.client.Get(k.settings.jwksURL)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	var document struct {
		Keys []struct{ Kty, Use, Kid, N, E string }
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, limit)).Decode(&document); err != nil {
		return nil, err
	}
	keys := map[string]*rsa.PublicKey{}
	for _, key := range document.Keys {
		n, errN := base64.RawURLEncoding.DecodeString(key.N)
		e, errE := base64.RawURLEncoding.DecodeString(key.E)
		if key.Kty == "RSA" && (key.Use == "" || key.Use == "sig") && errN == nil && errE == nil && len(e) <= 4 {
			keys[key.Kid] = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
		}
	}
	return keys, nil
}

type receiver struct {
	settings settings
	store    *store
	keys     *keySource
}

// From the body of a request to the answer.
func (r *receiver) receive(ctx context.Context, body []byte) (any, error) {
	var envelope struct{ Event *string }
	if err := json.Unmarshal(body, &envelope); err != nil || envelope.Event == nil {
		return nil, refuse("bad_request", `the body is not {"event":"…"}`)
	}
	claims, err := r.verify(*envelope.Event)
	if err != nil {
		return nil, err
	}
	payload, err := r.decrypt(claims)
	if err != nil {
		return nil, err
	}
	events, err := readEvents(payload)
	if err != nil {
		return nil, err
	}
	outcomes := r.store.take(ctx, events)
	for i, e := range events {
		if e.EventType.string != nil {
			log.Printf("%s %s", *e.EventType.string, outcomes[i].list)
		}
	}
	return answer(events, outcomes), nil
}

type claims struct {
	Issuer        string          `json:"iss"`
	Audience      json.RawMessage `json:"aud"`
	Expires       *float64        `json:"exp"`
	IssuedAt      *float64        `json:"iat"`
	DataEncrypted bool            `json:"dataEncrypted"`
	CipherData    string          `json:"cipherData"`
	PlainData     json.RawMessage `json:"plainData"`
}

// ANCHOR: verify
// The claims of the JWT, once nothing is left to doubt. Nothing that is not signed is looked into before.
func (r *receiver) verify(token string) (*claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(parts[0]) > 4096 {
		return nil, refuse("not_a_jwt", "the event has not three parts")
	}
	var header struct {
		Alg  string
		Kid  *string
		Crit json.RawMessage
	}
	if err := decodeJSON(parts[0], &header); err != nil {
		return nil, refuse("not_a_jwt", "the JWT's header cannot be read: %.200v", err)
	}
	// Only this algorithm: `none` proves nothing, and the key of HS256 would be the public one, which all know.
	if header.Alg != "RS256" || header.Kid == nil || header.Crit != nil {
		return nil, refuse("wrong_algorithm", "the JWT is not signed with RS256, or has no kid, or uses extensions")
	}
	key, err := r.keys.get(*header.Kid)
	if err != nil {
		return nil, err
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return nil, refuse("not_a_jwt", "the signature is not base64url")
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) != nil {
		return nil, refuse("bad_signature", "the signature of the key %.80q does not fit", *header.Kid)
	}
	var c claims
	if err := decodeJSON(parts[1], &c); err != nil {
		return nil, refuse("malformed_claims", "the JWT's claims cannot be read: %.200v", err)
	}
	if c.Issuer != issuer {
		return nil, refuse("wrong_issuer", "the issuer is not %s", issuer)
	}
	var audience []string
	if one := ""; json.Unmarshal(c.Audience, &one) == nil {
		audience = []string{one}
	} else if json.Unmarshal(c.Audience, &audience) != nil {
		audience = nil
	}
	isMeant := false
	for _, one := range audience {
		isMeant = isMeant || one == r.settings.applicationID
	}
	if !isMeant {
		return nil, refuse("wrong_audience", "the JWT is meant for another application")
	}
	if c.Expires == nil || c.IssuedAt == nil {
		return nil, refuse("malformed_claims", "the JWT has no iat or no exp")
	}
	now := float64(time.Now().UnixMilli()) / 1000
	if *c.Expires+leeway.Seconds() < now {
		return nil, refuse("expired", "the JWT has expired")
	}
	if *c.IssuedAt-leeway.Seconds() > now {
		return nil, refuse("not_yet_valid", "the JWT is from the future: compare the clocks")
	}
	if *c.Expires < *c.IssuedAt || *c.Expires-*c.IssuedAt > lifetime.Seconds() {
		return nil, refuse("unreasonable_lifetime", "the JWT is valid for more than a day")
	}
	return &c, nil
}

// ANCHOR_END: verify

// ANCHOR: decrypt
// The payload as JSON, out of the cipher or as it came.
func (r *receiver) decrypt(c *claims) ([]byte, error) {
	key := r.settings.key
	if !c.DataEncrypted && len(key) > 0 {
		return nil, refuse("not_encrypted", "the events are not encrypted, but this application requires it")
	}
	if !c.DataEncrypted {
		return c.PlainData, nil
	}
	if len(key) == 0 {
		return nil, refuse("no_decryption_key", "the events are encrypted, but this application has no key")
	}
	// A compact JWE: header, encrypted key (none), initialization vector, data, tag.
	parts := strings.Split(c.CipherData, ".")
	if len(parts) != 5 {
		return nil, refuse("malformed_jwe", "the JWE has not five parts")
	}
	var header struct {
		Alg, Enc  string
		Zip, Crit json.RawMessage
	}
	err := decodeJSON(parts[0], &header)
	vector, errVector := base64.RawURLEncoding.DecodeString(parts[2])
	data, errData := base64.RawURLEncoding.DecodeString(parts[3])
	tag, errTag := base64.RawURLEncoding.DecodeString(parts[4])
	if err != nil || errVector != nil || errData != nil || errTag != nil {
		return nil, refuse("malformed_jwe", "a part of the JWE cannot be read")
	}
	isKnown := header.Alg == "dir" && parts[1] == "" && header.Zip == nil && header.Crit == nil &&
		header.Enc == fmt.Sprintf("A%dGCM", len(key)*8)
	// The length of the tag is ours to say: a shorter one would be easier to guess.
	if !isKnown || len(vector) != 12 || len(tag) != 16 {
		return nil, refuse("malformed_jwe", "the JWE is not of alg dir and of the enc that fits the key")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, vector, append(data, tag...), []byte(parts[0]))
	if err != nil {
		return nil, refuse("undecryptable", "the events cannot be decrypted: the keys differ, or the data was altered")
	}
	return plain, nil
}

// ANCHOR_END: decrypt

// The events: strings that hold JSON, inside each other. The answer names each by its id, so it must have one.
func readEvents(payload []byte) ([]event, error) {
	var outer struct{ EventData json.RawMessage }
	var events []event
	err := json.Unmarshal(inside(payload), &outer)
	if err == nil {
		err = json.Unmarshal(inside(outer.EventData), &events)
	}
	if err != nil || events == nil {
		return nil, refuse("malformed_payload", "the payload is not an object with a list of events in eventData")
	}
	for _, e := range events {
		if len(e.EventID) < 1 || len(e.EventID) > 256 {
			return nil, refuse("malformed_payload", "an event has no eventId, or one of more than 256 bytes")
		}
	}
	return events, nil
}

// What a JSON string holds; anything else as it is.
func inside(data []byte) []byte {
	if text := ""; json.Unmarshal(data, &text) == nil && text != "" {
		return []byte(text)
	}
	return data
}

// ANCHOR: answer
// Each event in one of four lists: done, not handled here, never possible, and wanted again.
func answer(events []event, outcomes []outcome) any {
	type item struct {
		EventID      string `json:"eventId"`
		EventCode    string `json:"eventCode"`
		EventMessage string `json:"eventMessage"`
	}
	codes := map[string]string{
		"success": "SUCCESS", "skipped": "auto_skipped", "failed": "malformed_data", "retried": "exception",
	}
	lists := map[string][]item{}
	for list := range codes {
		lists[list+"Events"] = []item{}
	}
	for i, outcome := range outcomes {
		list := outcome.list + "Events"
		lists[list] = append(lists[list], item{events[i].EventID, codes[outcome.list], outcome.message})
	}
	return lists
}

// ANCHOR_END: answer

func decodeJSON(part string, value any) error {
	data, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, value)
}

func (r *receiver) postEvents(w http.ResponseWriter, request *http.Request) (any, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, limit))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, refusal{http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("at most %d bytes are accepted", limit)}
	}
	if err != nil {
		return nil, refuse("bad_request", "the request broke off before its end")
	}
	return r.receive(request.Context(), body)
}

func (r *receiver) getUser(request *http.Request, id string) (any, error) {
	// For tests on the same machine: whoever else asks learns nothing.
	host, _, _ := net.SplitHostPort(request.RemoteAddr)
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, refusal{http.StatusForbidden, "forbidden", "only for this machine"}
	}
	user, err := r.store.user(request.Context(), id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, refusal{http.StatusNotFound, "not_found", "no such user is stored"}
	}
	return json.RawMessage(user), err
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	var reply any
	var err error
	switch {
	case request.Method == http.MethodPost && request.URL.Path == "/events":
		reply, err = r.postEvents(w, request)
	case request.Method == http.MethodGet && strings.HasPrefix(request.URL.Path, "/users/"):
		reply, err = r.getUser(request, strings.TrimPrefix(request.URL.Path, "/users/"))
	default:
		err = refusal{http.StatusNotFound, "not_found", "events arrive at POST /events"}
	}
	status := http.StatusOK
	if err != nil {
		var refused refusal
		if !errors.As(err, &refused) {
			refused = refusal{http.StatusInternalServerError, "internal_error", "the request could not be processed"}
		}
		if request.Method == http.MethodPost || refused.status == http.StatusInternalServerError {
			log.Printf("refused: %v", err)
		}
		status, reply = refused.status, map[string]string{"error": refused.name, "errorDescription": refused.description}
	}
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(reply) // fails if the hub has hung up: it will send the events again
}

func run() error {
	settings, err := readSettings()
	if err != nil {
		return err
	}
	store, err := openStore(settings.database)
	if err != nil {
		return err
	}
	defer store.db.Close()
	keys := &keySource{settings: settings, client: http.Client{Timeout: 3 * time.Second}}
	listener, err := net.Listen("tcp", settings.listen)
	if err != nil {
		return err
	}
	server := http.Server{
		Handler:     &receiver{settings, store, keys},
		ReadTimeout: 20 * time.Second, // longer than hubs wait, so that nobody holds a connection
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	log.Printf("receiving at http://%s/events", settings.listen)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		deadline, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return server.Shutdown(deadline)
	}
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
