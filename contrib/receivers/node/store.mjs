// The table to store into: what each event does to it, in SQLite. Replace it by your own.
//
// Three things make it safe to receive an event twice, late or out of order: the id of every event that was taken is
// kept with its answer (`events`), the time of the last event of every subject is kept, also of deleted ones
// (`subjects`), and both are written in the transaction that applies the event.

import Database from "better-sqlite3";

const SCHEMA = `
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
`;

// Envelopes are valid for half an hour, so no event comes again after a week unless an administrator wants it to.
const REMEMBERED_MS = 7 * 24 * 3_600_000;
const WHOLE_USER = [
  "create",
  "update_info",
  "update_password",
  "disable",
  "enable",
  "lock",
  "unlock",
  "update_primary_ou",
  "push",
];
// Kind of subject: its table, the column of its id there, its id in a record, and the types of events about it.
const KINDS = new Map([
  ["user", { table: "users", key: "user_id", id: "userId", actions: [...WHOLE_USER, "delete"] }],
  [
    "organizational_unit",
    {
      table: "units",
      key: "unit_id",
      id: "organizationalUnitId",
      actions: ["create", "update", "update_parent_organizational_unit", "push", "delete"],
    },
  ],
  [
    "group",
    {
      table: "user_groups",
      key: "group_id",
      id: "groupId",
      actions: ["create", "update", "add_user", "remove_user", "delete"],
    },
  ],
]);
// An id of a range that an inventory does not name, so that it should not be there.
const unnamed = (id) =>
  `${id} > @after AND (@through IS NULL OR ${id} <= @through) AND ${id} NOT IN (SELECT value FROM json_each(@ids))`;

const USER = `
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
FROM users WHERE user_id = ?`;

/** A record that can never be applied. */
class Malformed extends Error {}

/** The first of the names that has a value: two generations of names are in use. Numbers may be strings or not. */
function text(record, ...names) {
  const value = names.map((name) => record[name]).find((value) => value !== undefined && value !== null) ?? null;
  if (typeof value === "number") return String(value);
  // Half of a surrogate pair is valid JSON, but no text that can be stored.
  if (value !== null && !(typeof value === "string" && value.isWellFormed()))
    throw new Malformed(`${names[0]} is not a text`);
  return value;
}

function number(record, name) {
  const value = text(record, name);
  if (value === null || value === "") return null;
  if (!/^-?[0-9]{1,19}$/.test(value.trim()) || BigInt.asIntN(64, BigInt(value)) !== BigInt(value)) {
    throw new Malformed(`${name} is not a whole number`);
  }
  return BigInt(value);
}

function required(value, name) {
  if (value === null || value === "") throw new Malformed(`the record has no ${name}`);
  return value;
}

function ids(record, name) {
  const value = record[name];
  if (!Array.isArray(value)) throw new Malformed(`${name} is not a list of ids`);
  return value.map((id) => required(text({ [name]: id }, name), name));
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

export class Store {
  #db;
  #statements = new Map();

  constructor(path) {
    this.#db = new Database(path, { timeout: 2000 });
    // WAL with FULL has every answered event on the disk.
    this.#db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; ${SCHEMA}`);
  }

  #sql(sql) {
    if (!this.#statements.has(sql)) this.#statements.set(sql, this.#db.prepare(sql));
    return this.#statements.get(sql);
  }

  /** Applies the events of one request, and says for each which list of the answer it belongs to, and why. */
  take(events) {
    const now = Date.now();
    const all = this.#db.transaction(() => {
      this.#sql("DELETE FROM events WHERE received_at < ?").run(now - REMEMBERED_MS);
      return events.map((event) => this.#takeOne(event, now));
    });
    try {
      return all.immediate();
    } catch (error) {
      // Nothing was kept, so everything is wanted again.
      return events.map(() => ({ list: "retried", message: `the database: ${error.message}` }));
    }
  }

  #takeOne(event, now) {
    const known = this.#sql("SELECT list, message FROM events WHERE event_id = ?").get(event.eventId);
    if (known) return known;
    // A transaction inside is a savepoint, so that the others do not suffer for one that the database refuses.
    const one = this.#db.transaction(() => {
      const outcome = this.#apply(event);
      // A failure is not remembered: if it is sent again, somebody has mended something.
      if (outcome.list !== "failed") {
        this.#sql("INSERT INTO events VALUES (?, ?, ?, ?)").run(event.eventId, outcome.list, outcome.message, now);
      }
      return outcome;
    });
    try {
      return one();
    } catch (error) {
      // SQLite has undone everything by itself, as when the disk is full.
      if (!this.#db.inTransaction) throw error;
      return { list: "retried", message: `the database: ${error.message}` };
    }
  }

  // ANCHOR: apply
  /** What one event does. The types that are not handled here are skipped. */
  #apply(event) {
    const done = (isNews = true) => ({ list: "success", message: isNews ? "" : "stale" });
    try {
      const type = required(text(event, "eventType"), "eventType");
      if (type === "urn:alibaba:idaas:app:event:common:test") return done();
      const [, kind, action] = /^urn:alibaba:idaas:app:event:ud:(\w+):(\w+)$/.exec(type) ?? [];
      const isInventory = type === "urn:rollcall:app:event:inventory";
      if (!isInventory && !KINDS.get(kind)?.actions.includes(action)) return { list: "skipped", message: "" };

      const at = required(number(event, "eventTime"), "eventTime");
      const record = parse(event.bizData);
      if (isInventory) return done(this.#takeInventory(record, at));
      if (action === "delete") return done(this.#delete(kind, record, at));
      if (action === "add_user" || action === "remove_user") {
        const group = required(text(record, "groupId"), "groupId");
        return done(this.#setMembers(group, ids(record, "userIds"), at, action === "add_user"));
      }
      // Everything else carries the whole record, so that it is written as it is: create or update.
      if (kind === "user") return done(this.#putUser(record, at));
      if (kind === "organizational_unit") return done(this.#putUnit(record, at));
      return done(this.#putGroup(record, at));
    } catch (error) {
      if (error instanceof Malformed) return { list: "failed", message: error.message };
      throw error;
    }
  }
  // ANCHOR_END: apply

  /** Notes the time of a subject's event; says no if a later one is known. Equal times are in order. */
  #isNews(kind, id, at, deleted = 0) {
    const { changes } = this.#sql(
      `INSERT INTO subjects VALUES (@kind, @id, @at, @deleted, CASE WHEN @deleted THEN @at END)
       ON CONFLICT (kind, id) DO UPDATE SET event_time = excluded.event_time, deleted = excluded.deleted,
           deleted_time = COALESCE(excluded.deleted_time, deleted_time)
       WHERE event_time <= excluded.event_time`,
    ).run({ kind, id, at, deleted });
    return changes > 0;
  }

  #replace(table, ...values) {
    this.#sql(`INSERT OR REPLACE INTO ${table} VALUES (${values.map(() => "?").join(", ")})`).run(values);
  }

  #putUser(record, at) {
    // `password` comes only if the administrator synchronizes passwords. Store a hash of it, never itself.
    const id = required(text(record, "userId"), "userId");
    const user = ["username", "displayName", "email", "phoneRegion", "phoneNumber", "status"].map((name) =>
      text(record, name),
    );
    user.push(text(record, "userExternalId", "externalId"), text(record, "description"));
    user.push(number(record, "accountExpireTime"), number(record, "lockExpireTime"));
    const listed = record.userOrganizationalUnits ?? record.organizationalUnits ?? [];
    if (!Array.isArray(listed) || !listed.every(isObject))
      throw new Malformed("userOrganizationalUnits is not a list of units");
    const units = listed.map((unit) => [
      required(text(unit, "organizationalUnitId"), "organizationalUnitId"),
      String(unit.primary).toLowerCase() === "true" ? 1 : 0,
    ]);
    if (!this.#isNews("user", id, at)) return false;
    this.#replace("users", id, ...user);
    this.#sql("DELETE FROM user_units WHERE user_id = ?").run(id);
    for (const unit of units) this.#replace("user_units", id, ...unit);
    return true;
  }

  #putUnit(record, at) {
    const id = required(text(record, "organizationalUnitId"), "organizationalUnitId");
    const unit = [text(record, "organizationalUnitName", "name"), text(record, "parentId")];
    unit.push(text(record, "organizationalUnitExternalId", "externalId"), text(record, "description"));
    if (!this.#isNews("organizational_unit", id, at)) return false;
    this.#replace("units", id, ...unit);
    return true;
  }

  #putGroup(record, at) {
    const id = required(text(record, "groupId"), "groupId");
    const group = [
      text(record, "groupName", "name"),
      text(record, "groupExternalId", "externalId"),
      text(record, "description"),
    ];
    if (!this.#isNews("group", id, at)) return false;
    this.#replace("user_groups", id, ...group);
    return true;
  }

  #delete(kind, record, at) {
    const { table, key, id: name } = KINDS.get(kind);
    const id = required(text(record, name), name);
    const isNews = this.#isNews(kind, id, at, 1);
    if (isNews) {
      this.#sql(`DELETE FROM ${table} WHERE ${key} = ?`).run(id);
      if (kind === "user") this.#sql("DELETE FROM user_units WHERE user_id = ?").run(id);
    }
    // A deletion that comes late, after the subject is back, still ends the memberships of its former life.
    this.#sql(
      "UPDATE subjects SET deleted_time = MAX(COALESCE(deleted_time, @at), @at) WHERE kind = @kind AND id = @id",
    ).run({ kind, id, at });
    if (kind !== "organizational_unit") {
      this.#sql(`DELETE FROM group_members WHERE ${key} = ? AND event_time <= ?`).run(id, at);
    }
    return isNews;
  }

  /** Each membership has a time of its own, and does not outlive the group nor the user. */
  #setMembers(group, users, at, present) {
    this.#sql(
      `INSERT INTO group_members SELECT DISTINCT @group, value, @at, @present FROM json_each(@users)
       WHERE NOT EXISTS (
           SELECT 1 FROM subjects
           WHERE (kind = 'group' AND id = @group OR kind = 'user' AND id = value)
             AND (deleted_time > @at OR deleted AND event_time = @at))
       ON CONFLICT (group_id, user_id) DO UPDATE SET event_time = excluded.event_time, present = excluded.present
       WHERE event_time <= excluded.event_time`,
    ).run({ group, users: JSON.stringify(users), at, present: present ? 1 : 0 });
  }

  /** The end of a full synchronization: what is not named, and not heard of since, is gone. */
  #takeInventory(record, at) {
    const [kind, group] = [text(record, "subjectKind"), text(record, "groupId")];
    const [after, through, named] = [text(record, "after"), text(record, "through"), ids(record, "ids")];
    const isSound = kind === "group_member" ? group : KINDS.has(kind) && group === null;
    // Ids are in the order of their bytes, which is not always the order of JavaScript's strings.
    const isAfter = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) > 0;
    const isOutside = (id) => !isAfter(id, after) || (through !== null && isAfter(id, through));
    if (!isSound || after === null || named.some(isOutside)) {
      throw new Malformed("the inventory cannot be read, and what is gone cannot be told");
    }
    const range = { after, through, ids: JSON.stringify(named) };
    if (kind === "group_member") {
      this.#sql(
        `UPDATE group_members SET event_time = @at, present = 0
         WHERE group_id = @group AND event_time <= @at AND ${unnamed("user_id")}`,
      ).run({ ...range, group, at });
      this.#setMembers(group, named, at, true);
      return;
    }
    this.#sql(
      `UPDATE subjects SET deleted = deleted OR event_time <= @at, event_time = MAX(event_time, @at),
           deleted_time = MAX(COALESCE(deleted_time, @at), @at)
       WHERE kind = @kind AND ${unnamed("id")}`,
    ).run({ ...range, kind, at });
    const { table, key } = KINDS.get(kind);
    for (const rows of kind === "user" ? [table, "user_units"] : [table]) {
      this.#sql(
        `DELETE FROM ${rows} WHERE ${unnamed(key)} AND ${key} IN (SELECT id FROM subjects WHERE kind = @kind AND deleted)`,
      ).run({ ...range, kind });
    }
    if (kind !== "organizational_unit") {
      this.#sql(`DELETE FROM group_members WHERE event_time <= @at AND ${unnamed(key)}`).run({ ...range, at });
    }
  }

  /** One user as it is stored, or undefined. */
  user(id) {
    const user = this.#sql(USER).pluck().get(id);
    return user && JSON.parse(user);
  }

  close() {
    this.#db.close();
  }
}

function parse(bizData) {
  let record = bizData;
  try {
    if (typeof bizData === "string") record = JSON.parse(bizData);
  } catch (error) {
    throw new Malformed(`bizData cannot be read: ${error.message}`.slice(0, 300).toWellFormed());
  }
  if (!isObject(record)) throw new Malformed("bizData is not an object");
  return record;
}
