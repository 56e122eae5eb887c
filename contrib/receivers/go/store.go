package main

// The table to store into: what each event does to it, in SQLite. Replace it by your own.
//
// Three things make it safe to receive an event twice, late or out of order: the id of every event that was taken is
// kept with its answer (`events`), the time of the last event of every subject is kept, also of deleted ones
// (`subjects`), and both are written in the transaction that applies the event.

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	_ "github.com/mattn/go-sqlite3"
)

const schema = `
CREATE TABLE IF NOT EXISTS events (
    event_id TEXT PRIMARY KEY, list TEXT NOT NULL, message TEXT NOT NULL, received_at INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS events_by_time ON events (received_at);
CREATE TABLE IF NOT EXISTS subjects (
    kind TEXT NOT NULL, id TEXT NOT NULL, event_time INTEGER NOT NULL, deleted INTEGER NOT NULL,
    deleted_time INTEGER, PRIMARY KEY (kind, id));
CREATE TABLE IF NOT EXISTS users (
    user_id TEXT PRIMARY KEY, username TEXT, display_name TEXT, email TEXT, phone_region TEXT, phone_number TEXT,
    status TEXT, external_id TEXT, description TEXT, account_expire_time INTEGER, lock_expire_time INTEGER);
CREATE TABLE IF NOT EXISTS user_units (
    user_id TEXT NOT NULL, unit_id TEXT NOT NULL, is_primary INTEGER NOT NULL, PRIMARY KEY (user_id, unit_id));
CREATE TABLE IF NOT EXISTS units (
    unit_id TEXT PRIMARY KEY, name TEXT, parent_id TEXT, external_id TEXT, description TEXT);
CREATE TABLE IF NOT EXISTS user_groups (
    group_id TEXT PRIMARY KEY, name TEXT, external_id TEXT, description TEXT);
CREATE TABLE IF NOT EXISTS group_members (
    group_id TEXT NOT NULL, user_id TEXT NOT NULL, event_time INTEGER NOT NULL, present INTEGER NOT NULL,
    PRIMARY KEY (group_id, user_id));
CREATE INDEX IF NOT EXISTS group_members_by_user ON group_members (user_id);
`

// Envelopes are valid for half an hour, so no event comes again after a week unless an administrator wants it to.
const remembered = 7 * 24 * time.Hour

// A kind of subject: its table, the column of its id there, its id in a record, and the types of events about it.
type kind struct{ table, key, id, actions string }

func (k kind) handles(action string) bool {
	for _, one := range strings.Fields(k.actions) {
		if one == action {
			return true
		}
	}
	return false
}

var kinds = map[string]kind{
	"user": {"users", "user_id", "userId",
		"create update_info update_password disable enable lock unlock update_primary_ou push delete"},
	"organizational_unit": {"units", "unit_id", "organizationalUnitId",
		"create update update_parent_organizational_unit push delete"},
	"group": {"user_groups", "group_id", "groupId", "create update add_user remove_user delete"},
}

// An id of a range that an inventory does not name, so that it should not be there.
func unnamed(id string) string {
	return fmt.Sprintf("%[1]s > ?1 AND (?2 IS NULL OR %[1]s <= ?2) AND %[1]s NOT IN (SELECT value FROM json_each(?3))", id)
}

const userQuery = `
SELECT json_object('userId', user_id, 'username', username, 'displayName', display_name, 'email', email,
    'phoneRegion', phone_region, 'phoneNumber', phone_number, 'status', status, 'externalId', external_id,
    'description', description, 'accountExpireTime', account_expire_time, 'lockExpireTime', lock_expire_time,
    'organizationalUnits', json((
        SELECT json_group_array(json_object('organizationalUnitId', unit_id,
            'primary', json(iif(is_primary, 'true', 'false'))))
        FROM (SELECT * FROM user_units WHERE user_id = users.user_id ORDER BY unit_id))),
    'groups', json((
        SELECT json_group_array(group_id)
        FROM (SELECT * FROM group_members WHERE user_id = users.user_id AND present ORDER BY group_id))))
FROM users WHERE user_id = ?`

// A record that can never be applied. Every other error comes from the database, and may be over next time.
type malformed string

func (m malformed) Error() string { return string(m) }

// Text is a string or a number: either may stand for the other. It is nil where there is none.
type text struct{ *string }

func (t *text) UnmarshalJSON(data []byte) error {
	var value any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return err
	}
	switch value := value.(type) {
	case nil:
	case string:
		t.string = &value
	case json.Number:
		number := value.String()
		t.string = &number
	default:
		return fmt.Errorf("%.80s is not a text", data)
	}
	return nil
}

func (t text) number() (*int64, error) {
	if t.string == nil || *t.string == "" {
		return nil, nil
	}
	number, err := strconv.ParseInt(strings.TrimSpace(*t.string), 10, 64)
	if err != nil {
		return nil, malformed(fmt.Sprintf("%.80q is not a whole number", *t.string))
	}
	return &number, nil
}

// The first that has a value: two generations of names are in use.
func either(texts ...text) *string {
	for _, t := range texts {
		if t.string != nil {
			return t.string
		}
	}
	return nil
}

func required(t text, name string) (string, error) {
	if t.string == nil || *t.string == "" {
		return "", malformed("the record has no " + name)
	}
	return *t.string, nil
}

type event struct {
	EventID   string          `json:"eventId"`
	EventType text            `json:"eventType"`
	EventTime text            `json:"eventTime"`
	BizData   json.RawMessage `json:"bizData"`
}

type unitOfUser struct {
	ID      text            `json:"organizationalUnitId"`
	Primary json.RawMessage `json:"primary"`
}

// A record of any kind, with the names of both generations.
type record struct {
	UserID            text         `json:"userId"`
	Username          text         `json:"username"`
	DisplayName       text         `json:"displayName"`
	Email             text         `json:"email"`
	PhoneRegion       text         `json:"phoneRegion"`
	PhoneNumber       text         `json:"phoneNumber"`
	Status            text         `json:"status"`
	Description       text         `json:"description"`
	AccountExpireTime text         `json:"accountExpireTime"`
	LockExpireTime    text         `json:"lockExpireTime"`
	Units             []unitOfUser `json:"userOrganizationalUnits"`
	OlderUnits        []unitOfUser `json:"organizationalUnits"`
	UnitID            text         `json:"organizationalUnitId"`
	UnitName          text         `json:"organizationalUnitName"`
	ParentID          text         `json:"parentId"`
	GroupID           text         `json:"groupId"`
	GroupName         text         `json:"groupName"`
	UserIDs           []string     `json:"userIds"`
	Name              text         `json:"name"`
	ExternalID        text         `json:"externalId"`
	UserExternalID    text         `json:"userExternalId"`
	UnitExternalID    text         `json:"organizationalUnitExternalId"`
	GroupExternalID   text         `json:"groupExternalId"`
	SubjectKind       text         `json:"subjectKind"`
	After             text         `json:"after"`
	Through           text         `json:"through"`
	IDs               []string     `json:"ids"`
}

// Which list of the answer an event belongs to (success, skipped, failed, retried), and why.
type outcome struct{ list, message string }

type store struct{ db *sql.DB }

func openStore(path string) (*store, error) {
	// One connection: SQLite has one writer anyway. WAL with FULL has every answered event on the disk.
	options := "?_journal_mode=WAL&_synchronous=FULL&_busy_timeout=2000&_txlock=immediate"
	db, err := sql.Open("sqlite3", "file:"+path+options)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	_, err = db.Exec(schema)
	return &store{db}, err
}

// Take applies the events of one request, and says for each what became of it.
func (s *store) take(ctx context.Context, events []event) []outcome {
	outcomes, err := s.takeAll(ctx, events)
	if err != nil {
		// Nothing was kept, so everything is wanted again.
		outcomes = make([]outcome, len(events))
		for i := range outcomes {
			outcomes[i] = outcome{"retried", "the database: " + err.Error()}
		}
	}
	return outcomes
}

func (s *store) takeAll(ctx context.Context, events []event) ([]outcome, error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() // has no effect after Commit
	now := time.Now()
	if _, err := tx.Exec("DELETE FROM events WHERE received_at < ?1", now.Add(-remembered).UnixMilli()); err != nil {
		return nil, err
	}
	outcomes := make([]outcome, len(events))
	for i, e := range events {
		if outcomes[i], err = takeOne(tx, e, now); err != nil {
			return nil, err
		}
	}
	return outcomes, tx.Commit()
}

func takeOne(tx *sql.Tx, e event, now time.Time) (result outcome, err error) {
	err = tx.QueryRow("SELECT list, message FROM events WHERE event_id = ?1", e.EventID).Scan(&result.list, &result.message)
	if !errors.Is(err, sql.ErrNoRows) {
		return result, err
	}
	// A savepoint for each, so that the others do not suffer for one that the database refuses.
	if _, err = tx.Exec("SAVEPOINT event"); err != nil {
		return result, err
	}
	isNews, err := apply(tx, e)
	var lasting malformed
	switch {
	case errors.As(err, &lasting):
		// A failure is not remembered: if it is sent again, somebody has mended something.
		result, err = outcome{"failed", lasting.Error()}, nil
	case errors.Is(err, errSkipped):
		result = outcome{"skipped", ""}
		err = remember(tx, e, result, now)
	case err == nil:
		result = outcome{"success", "stale"}
		if isNews {
			result.message = ""
		}
		err = remember(tx, e, result, now)
	}
	if err != nil {
		result = outcome{"retried", "the database: " + err.Error()}
		if _, err := tx.Exec("ROLLBACK TO event"); err != nil {
			return result, err // SQLite has undone everything by itself, as when the disk is full.
		}
	}
	_, err = tx.Exec("RELEASE event")
	return result, err
}

func remember(tx *sql.Tx, e event, result outcome, now time.Time) error {
	_, err := tx.Exec("INSERT INTO events VALUES (?1, ?2, ?3, ?4)", e.EventID, result.list, result.message, now.UnixMilli())
	return err
}

var errSkipped = errors.New("not handled here")

// ANCHOR: apply
// What one event does, and whether it was news. The types that are not handled here are skipped.
func apply(tx *sql.Tx, e event) (bool, error) {
	eventType, err := required(e.EventType, "eventType")
	if err != nil {
		return false, err
	}
	if eventType == "urn:alibaba:idaas:app:event:common:test" {
		return true, nil
	}
	name, action := "", ""
	if prefix := "urn:alibaba:idaas:app:event:ud:"; strings.HasPrefix(eventType, prefix) {
		name, action, _ = strings.Cut(strings.TrimPrefix(eventType, prefix), ":")
	}
	isInventory := eventType == "urn:rollcall:app:event:inventory"
	if !isInventory && !kinds[name].handles(action) {
		return false, errSkipped
	}
	at, err := e.EventTime.number()
	if err != nil || at == nil {
		return false, malformed("the event has no eventTime")
	}
	data := []byte(e.BizData)
	if inner := ""; json.Unmarshal(data, &inner) == nil {
		data = []byte(inner)
	}
	var r *record
	if err := json.Unmarshal(data, &r); err != nil {
		return false, malformed(fmt.Sprintf("bizData cannot be read: %.200v", err))
	}
	if r == nil {
		return false, malformed("bizData is not an object")
	}
	switch {
	case isInventory:
		return true, takeInventory(tx, r, *at)
	case action == "delete":
		return deleteSubject(tx, name, r, *at)
	case action == "add_user" || action == "remove_user":
		return true, changeMembers(tx, r, *at, action == "add_user")
	// Everything else carries the whole record, so that it is written as it is: create or update.
	case name == "user":
		return putUser(tx, r, *at)
	case name == "organizational_unit":
		return put(tx, name, r.UnitID, *at, either(r.UnitName, r.Name), r.ParentID.string,
			either(r.UnitExternalID, r.ExternalID), r.Description.string)
	default:
		return put(tx, name, r.GroupID, *at, either(r.GroupName, r.Name), either(r.GroupExternalID, r.ExternalID),
			r.Description.string)
	}
}

// ANCHOR_END: apply

// Notes the time of a subject's event; says no if a later one is known. Equal times are in order.
func isNews(tx *sql.Tx, kind, id string, at int64, deleted bool) (bool, error) {
	result, err := tx.Exec(`
		INSERT INTO subjects VALUES (?1, ?2, ?3, ?4, CASE WHEN ?4 THEN ?3 END)
		ON CONFLICT (kind, id) DO UPDATE SET event_time = excluded.event_time, deleted = excluded.deleted,
		    deleted_time = COALESCE(excluded.deleted_time, deleted_time)
		WHERE event_time <= excluded.event_time`, kind, id, at, deleted)
	if err != nil {
		return false, err
	}
	changed, err := result.RowsAffected()
	return changed > 0, err
}

func put(tx *sql.Tx, name string, idText text, at int64, values ...any) (bool, error) {
	id, err := required(idText, kinds[name].id)
	if err != nil {
		return false, err
	}
	news, err := isNews(tx, name, id, at, false)
	if err != nil || !news {
		return false, err
	}
	places := strings.Repeat(", ?", len(values))
	_, err = tx.Exec("INSERT OR REPLACE INTO "+kinds[name].table+" VALUES (?"+places+")", append([]any{id}, values...)...)
	return true, err
}

func putUser(tx *sql.Tx, r *record, at int64) (bool, error) {
	accountExpires, err := r.AccountExpireTime.number()
	if err != nil {
		return false, err
	}
	lockExpires, err := r.LockExpireTime.number()
	if err != nil {
		return false, err
	}
	units := r.Units
	if units == nil {
		units = r.OlderUnits
	}
	for _, unit := range units {
		if _, err := required(unit.ID, "organizationalUnitId"); err != nil {
			return false, err
		}
	}
	// `password` comes only if the administrator synchronizes passwords. Store a hash of it, never itself.
	news, err := put(tx, "user", r.UserID, at, r.Username.string, r.DisplayName.string, r.Email.string,
		r.PhoneRegion.string, r.PhoneNumber.string, r.Status.string, either(r.UserExternalID, r.ExternalID),
		r.Description.string, accountExpires, lockExpires)
	if err != nil || !news {
		return false, err
	}
	if _, err = tx.Exec("DELETE FROM user_units WHERE user_id = ?1", *r.UserID.string); err != nil {
		return false, err
	}
	for _, unit := range units {
		isPrimary := strings.Trim(string(unit.Primary), `"`) == "true"
		_, err = tx.Exec("INSERT OR REPLACE INTO user_units VALUES (?1, ?2, ?3)", *r.UserID.string, *unit.ID.string, isPrimary)
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

func deleteSubject(tx *sql.Tx, name string, r *record, at int64) (bool, error) {
	k := kinds[name]
	id, err := required(map[string]text{"user": r.UserID, "organizational_unit": r.UnitID, "group": r.GroupID}[name], k.id)
	if err != nil {
		return false, err
	}
	news, err := isNews(tx, name, id, at, true)
	if err != nil {
		return false, err
	}
	var statements []string
	if news {
		statements = append(statements, "DELETE FROM "+k.table+" WHERE "+k.key+" = ?1")
	}
	if news && name == "user" {
		statements = append(statements, "DELETE FROM user_units WHERE user_id = ?1")
	}
	// A deletion that comes late, after the subject is back, still ends the memberships of its former life.
	statements = append(statements,
		"UPDATE subjects SET deleted_time = MAX(COALESCE(deleted_time, ?2), ?2) WHERE kind = ?3 AND id = ?1")
	if name != "organizational_unit" {
		statements = append(statements, "DELETE FROM group_members WHERE "+k.key+" = ?1 AND event_time <= ?2")
	}
	return news, execAll(tx, statements, id, at, name)
}

func changeMembers(tx *sql.Tx, r *record, at int64, present bool) error {
	group, err := required(r.GroupID, "groupId")
	if err != nil {
		return err
	}
	if err := areIDs(r.UserIDs, "userIds"); err != nil {
		return err
	}
	return setMembers(tx, group, r.UserIDs, at, present)
}

func areIDs(ids []string, name string) error {
	ok := ids != nil
	for _, id := range ids {
		ok = ok && id != ""
	}
	if !ok {
		return malformed(name + " is not a list of ids")
	}
	return nil
}

// Each membership has a time of its own, and does not outlive the group nor the user.
func setMembers(tx *sql.Tx, group string, users []string, at int64, present bool) error {
	list, err := json.Marshal(users)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`
		INSERT INTO group_members SELECT DISTINCT ?1, value, ?2, ?3 FROM json_each(?4)
		WHERE NOT EXISTS (
		    SELECT 1 FROM subjects
		    WHERE (kind = 'group' AND id = ?1 OR kind = 'user' AND id = value)
		      AND (deleted_time > ?2 OR deleted AND event_time = ?2))
		ON CONFLICT (group_id, user_id) DO UPDATE SET event_time = excluded.event_time, present = excluded.present
		WHERE event_time <= excluded.event_time`, group, at, present, string(list))
	return err
}

// The end of a full synchronization: what is not named, and not heard of since, is gone.
func takeInventory(tx *sql.Tx, r *record, at int64) error {
	name, err := required(r.SubjectKind, "subjectKind")
	if err != nil {
		return err
	}
	if err := areIDs(r.IDs, "ids"); err != nil {
		return err
	}
	k, isSubject := kinds[name]
	isSound := isSubject && r.GroupID.string == nil || name == "group_member" && r.GroupID.string != nil
	isSound = isSound && r.After.string != nil
	for _, id := range r.IDs {
		isSound = isSound && id > *r.After.string && (r.Through.string == nil || id <= *r.Through.string)
	}
	if !isSound {
		return malformed("the inventory cannot be read, and what is gone cannot be told")
	}
	ids, err := json.Marshal(r.IDs)
	if err != nil {
		return err
	}
	if name == "group_member" {
		err := execAll(tx, []string{`
			UPDATE group_members SET event_time = ?4, present = 0
			WHERE group_id = ?5 AND event_time <= ?4 AND ` + unnamed("user_id")},
			*r.After.string, r.Through.string, string(ids), at, *r.GroupID.string)
		if err != nil {
			return err
		}
		return setMembers(tx, *r.GroupID.string, r.IDs, at, true)
	}
	gone := k.key + " IN (SELECT id FROM subjects WHERE kind = ?5 AND deleted) AND " + unnamed(k.key)
	statements := []string{`
		UPDATE subjects SET deleted = deleted OR event_time <= ?4, event_time = MAX(event_time, ?4),
		    deleted_time = MAX(COALESCE(deleted_time, ?4), ?4)
		WHERE kind = ?5 AND ` + unnamed("id"),
		"DELETE FROM " + k.table + " WHERE " + gone,
	}
	if name == "user" {
		statements = append(statements, "DELETE FROM user_units WHERE "+gone)
	}
	if name != "organizational_unit" {
		statements = append(statements, "DELETE FROM group_members WHERE event_time <= ?4 AND "+unnamed(k.key))
	}
	return execAll(tx, statements, *r.After.string, r.Through.string, string(ids), at, name)
}

// execAll gives each statement those of the arguments that it names.
func execAll(tx *sql.Tx, statements []string, arguments ...any) error {
	for _, statement := range statements {
		count := len(arguments)
		for count > 0 && !strings.Contains(statement, "?"+strconv.Itoa(count)) {
			count--
		}
		if _, err := tx.Exec(statement, arguments[:count]...); err != nil {
			return err
		}
	}
	return nil
}

// User is one user as it is stored, as JSON; sql.ErrNoRows if there is none.
func (s *store) user(ctx context.Context, id string) (user string, err error) {
	err = s.db.QueryRowContext(ctx, userQuery, id).Scan(&user)
	return user, err
}
