"""The table to store into: what each event does to it, in SQLite. Replace it by your own.

Three things make it safe to receive an event twice, late or out of order: the id of every event that was taken is
kept with its answer (`events`), the time of the last event of every subject is kept, also of deleted ones
(`subjects`), and both are written in the transaction that applies the event.
"""

import json
import re
import sqlite3
import threading
import time

SCHEMA = """
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
"""

# Envelopes are valid for half an hour, so no event comes again after a week unless an administrator wants it to.
REMEMBERED_MS = 7 * 24 * 3_600_000
# Kinds of subjects: the table of each, the column of its id there, its id in a record, and the events about it.
KINDS = {
    "user": (
        ("users", "user_id", "userId"),
        "create update_info update_password disable enable lock unlock update_primary_ou push delete".split(),
    ),
    "organizational_unit": (
        ("units", "unit_id", "organizationalUnitId"),
        "create update update_parent_organizational_unit push delete".split(),
    ),
    "group": (("user_groups", "group_id", "groupId"), "create update add_user remove_user delete".split()),
}
# An id of a range that an inventory does not name, so that it should not be there.
UNNAMED = "{0} > :after AND (:through IS NULL OR {0} <= :through) AND {0} NOT IN (SELECT value FROM json_each(:ids))"

USER = """
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
FROM users WHERE user_id = ?
"""


class Malformed(ValueError):
    """A record that can never be applied."""


def text(record, *names):
    """The first of the names that has a value: two generations of names are in use. Numbers may be strings or not."""
    value = next((record[name] for name in names if record.get(name) is not None), None)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise Malformed(f"{names[0]} is not a text")


def number(record, name):
    value = text(record, name)
    if value is None or value == "":
        return None
    if not re.fullmatch(r"-?[0-9]{1,19}", value.strip()) or not -(2**63) <= int(value) < 2**63:
        raise Malformed(f"{name} is not a whole number")
    return int(value)


def required(value, name):
    if value is None or value == "":
        raise Malformed(f"the record has no {name}")
    return value


def ids(record, name):
    value = record.get(name)
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise Malformed(f"{name} is not a list of ids")
    return value


class Store:
    def __init__(self, path):
        # One connection: SQLite has one writer anyway. WAL with FULL has every answered event on the disk.
        self._db = sqlite3.connect(path, timeout=2, isolation_level=None, check_same_thread=False)
        self._lock = threading.Lock()
        self._db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;" + SCHEMA)

    def take(self, events):
        """Applies the events of one request, and says for each which list of the answer it belongs to, and why."""
        with self._lock:
            try:
                now = time.time_ns() // 1_000_000
                self._db.execute("BEGIN IMMEDIATE")
                self._db.execute("DELETE FROM events WHERE received_at < ?", (now - REMEMBERED_MS,))
                outcomes = [self._take_one(event, now) for event in events]
                self._db.execute("COMMIT")
                return outcomes
            except sqlite3.Error as error:
                # Nothing is kept, so everything is wanted again.
                return [("retried", f"the database: {error}") for _ in events]
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def _take_one(self, event, now):
        known = self._db.execute("SELECT list, message FROM events WHERE event_id = ?", (event["eventId"],)).fetchone()
        if known:
            return known
        # A savepoint for each, so that the others do not suffer for one that the database refuses.
        self._db.execute("SAVEPOINT event")
        try:
            outcome = self._apply(event)
            if outcome[0] != "failed":
                # A failure is not remembered: if it is sent again, somebody has mended something.
                self._db.execute("INSERT INTO events VALUES (?, ?, ?, ?)", (event["eventId"], *outcome, now))
        except sqlite3.Error as error:
            if not self._db.in_transaction:
                raise  # SQLite has undone everything by itself, as when the disk is full.
            self._db.execute("ROLLBACK TO event")
            outcome = ("retried", f"the database: {error}")
        self._db.execute("RELEASE event")
        return outcome

    # ANCHOR: apply
    def _apply(self, event):
        """What one event does. The types that are not handled here are skipped."""
        try:
            kind = required(text(event, "eventType"), "eventType")
            if kind == "urn:alibaba:idaas:app:event:common:test":
                return "success", ""
            named = re.fullmatch(r"urn:alibaba:idaas:app:event:ud:(\w+):(\w+)", kind)
            domain, action = named.groups() if named else ("", "")
            is_inventory = kind == "urn:rollcall:app:event:inventory"
            if not is_inventory and (domain not in KINDS or action not in KINDS[domain][1]):
                return "skipped", ""
            at = required(number(event, "eventTime"), "eventTime")
            record = event.get("bizData")
            record = json.loads(record) if isinstance(record, str) else record
            if not isinstance(record, dict):
                raise Malformed("bizData is not an object")
            # Half of a surrogate pair is valid JSON, but no text that can be stored.
            json.dumps(record, ensure_ascii=False).encode()
            if is_inventory:
                return self._take_inventory(record, at)
            if action == "delete":
                return self._delete(domain, record, at)
            if action in ("add_user", "remove_user"):
                group = required(text(record, "groupId"), "groupId")
                self._set_members(group, ids(record, "userIds"), at, action == "add_user")
                return "success", ""
            # Everything else carries the whole record, so that it is written as it is: create or update.
            if domain == "user":
                return self._put_user(record, at)
            return self._put_unit(record, at) if domain == "organizational_unit" else self._put_group(record, at)
        except (ValueError, RecursionError) as error:
            return "failed", f"{error}"[:300]

    # ANCHOR_END: apply

    def _is_news(self, kind, id, at, deleted=False):
        """Notes the time of a subject's event; says no if a later one is known. Equal times are in order."""
        return self._db.execute(
            """INSERT INTO subjects VALUES (:kind, :id, :at, :deleted, CASE WHEN :deleted THEN :at END)
               ON CONFLICT (kind, id) DO UPDATE SET event_time = excluded.event_time, deleted = excluded.deleted,
                   deleted_time = COALESCE(excluded.deleted_time, deleted_time)
               WHERE event_time <= excluded.event_time""",
            {"kind": kind, "id": id, "at": at, "deleted": deleted},
        ).rowcount > 0  # fmt: skip

    def _replace(self, table, *values):
        self._db.execute(f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(values))})", values)

    def _put_user(self, record, at):
        # `password` comes only if the administrator synchronizes passwords. Store a hash of it, never itself.
        id = required(text(record, "userId"), "userId")
        names = ("username", "displayName", "email", "phoneRegion", "phoneNumber", "status")
        user = [text(record, name) for name in names]
        user += [text(record, "userExternalId", "externalId"), text(record, "description")]
        user += [number(record, "accountExpireTime"), number(record, "lockExpireTime")]
        units = record.get("userOrganizationalUnits") or record.get("organizationalUnits") or []
        if not isinstance(units, list) or not all(isinstance(unit, dict) for unit in units):
            raise Malformed("userOrganizationalUnits is not a list of units")
        is_primary = (True, "true")
        units = [
            (
                id,
                required(text(unit, "organizationalUnitId"), "organizationalUnitId"),
                unit.get("primary") in is_primary,
            )
            for unit in units
        ]
        if not self._is_news("user", id, at):
            return "success", "stale"
        self._replace("users", id, *user)
        self._db.execute("DELETE FROM user_units WHERE user_id = ?", (id,))
        for unit in units:
            self._replace("user_units", *unit)
        return "success", ""

    def _put_unit(self, record, at):
        id = required(text(record, "organizationalUnitId"), "organizationalUnitId")
        name, parent = text(record, "organizationalUnitName", "name"), text(record, "parentId")
        external = text(record, "organizationalUnitExternalId", "externalId")
        description = text(record, "description")
        if not self._is_news("organizational_unit", id, at):
            return "success", "stale"
        self._replace("units", id, name, parent, external, description)
        return "success", ""

    def _put_group(self, record, at):
        id = required(text(record, "groupId"), "groupId")
        name, external = text(record, "groupName", "name"), text(record, "groupExternalId", "externalId")
        description = text(record, "description")
        if not self._is_news("group", id, at):
            return "success", "stale"
        self._replace("user_groups", id, name, external, description)
        return "success", ""

    def _delete(self, kind, record, at):
        (table, key, name), _ = KINDS[kind]
        id = required(text(record, name), name)
        is_news = self._is_news(kind, id, at, deleted=True)
        if is_news:
            self._db.execute(f"DELETE FROM {table} WHERE {key} = ?", (id,))
            if kind == "user":
                self._db.execute("DELETE FROM user_units WHERE user_id = ?", (id,))
        # A deletion that comes late, after the subject is back, still ends the memberships of its former life.
        self._db.execute(
            "UPDATE subjects SET deleted_time = MAX(COALESCE(deleted_time, :at), :at) WHERE kind = :kind AND id = :id",
            {"kind": kind, "id": id, "at": at},
        )
        if kind != "organizational_unit":
            self._db.execute(f"DELETE FROM group_members WHERE {key} = ? AND event_time <= ?", (id, at))
        return "success", "" if is_news else "stale"

    def _set_members(self, group, users, at, present):
        """Each membership has a time of its own, and does not outlive the group nor the user."""
        self._db.execute(
            """INSERT INTO group_members SELECT DISTINCT :group, value, :at, :present FROM json_each(:users)
               WHERE NOT EXISTS (
                   SELECT 1 FROM subjects
                   WHERE (kind = 'group' AND id = :group OR kind = 'user' AND id = value)
                     AND (deleted_time > :at OR deleted AND event_time = :at))
               ON CONFLICT (group_id, user_id) DO UPDATE
               SET event_time = excluded.event_time, present = excluded.present
               WHERE event_time <= excluded.event_time""",
            {"group": group, "users": json.dumps(users), "at": at, "present": present},
        )

    def _take_inventory(self, record, at):
        """The end of a full synchronization: what is not named, and not heard of since, is gone."""
        kind, group = text(record, "subjectKind"), text(record, "groupId")
        after, through, named = text(record, "after"), text(record, "through"), ids(record, "ids")
        is_sound = kind in KINDS and group is None or kind == "group_member" and group
        # UTF-8 and code points have the same order, and Python compares the latter.
        if not is_sound or after is None or any(id <= after or through is not None and id > through for id in named):
            raise Malformed("the inventory cannot be read, and what is gone cannot be told")
        values = {"kind": kind, "group": group, "after": after, "through": through, "ids": json.dumps(named), "at": at}
        if kind == "group_member":
            self._db.execute(
                f"""UPDATE group_members SET event_time = :at, present = 0
                    WHERE group_id = :group AND event_time <= :at AND {UNNAMED.format("user_id")}""",
                values,
            )
            self._set_members(group, named, at, True)
            return "success", ""
        self._db.execute(
            f"""UPDATE subjects SET deleted = deleted OR event_time <= :at, event_time = MAX(event_time, :at),
                    deleted_time = MAX(COALESCE(deleted_time, :at), :at)
                WHERE kind = :kind AND {UNNAMED.format("id")}""",
            values,
        )
        (table, key, _), _ = KINDS[kind]
        for rows in (table, "user_units") if kind == "user" else (table,):
            self._db.execute(
                f"""DELETE FROM {rows} WHERE {UNNAMED.format(key)}
                    AND {key} IN (SELECT id FROM subjects WHERE kind = :kind AND deleted)""",
                values,
            )
        if kind != "organizational_unit":
            self._db.execute(f"DELETE FROM group_members WHERE event_time <= :at AND {UNNAMED.format(key)}", values)
        return "success", ""

    def user(self, id):
        """One user as it is stored, or None."""
        with self._lock:
            row = self._db.execute(USER, (id,)).fetchone()
        return row and json.loads(row[0])
