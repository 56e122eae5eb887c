import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The table to store into: what each event does to it, in SQLite. Replace it by your own.
 *
 * <p>Three things make it safe to receive an event twice, late or out of order: the id of every event that was taken is
 * kept with its answer ({@code events}), the time of the last event of every subject is kept, also of deleted ones
 * ({@code subjects}), and both are written in the transaction that applies the event.
 */
final class Store {
    /** Which list of the answer an event belongs to. */
    enum Verdict { success, skipped, failed, retried }

    record Outcome(Verdict verdict, String message) {
        static Outcome applied(boolean isNews) {
            return new Outcome(Verdict.success, isNews ? "" : "stale");
        }
    }

    /** A record that can never be applied. */
    @SuppressWarnings("serial")
    static final class Malformed extends Exception {
        Malformed(String message) {
            super(message);
        }
    }

    private static final String[] SCHEMA = {
        """
        CREATE TABLE IF NOT EXISTS events (
            event_id TEXT PRIMARY KEY, list TEXT NOT NULL, message TEXT NOT NULL, received_at INTEGER NOT NULL)""",
        "CREATE INDEX IF NOT EXISTS events_by_time ON events (received_at)",
        """
        CREATE TABLE IF NOT EXISTS subjects (
            kind TEXT NOT NULL, id TEXT NOT NULL, event_time INTEGER NOT NULL, deleted INTEGER NOT NULL,
            deleted_time INTEGER, PRIMARY KEY (kind, id))""",
        """
        CREATE TABLE IF NOT EXISTS users (
            user_id TEXT PRIMARY KEY, username TEXT, display_name TEXT, email TEXT, phone_region TEXT,
            phone_number TEXT, status TEXT, external_id TEXT, description TEXT, account_expire_time INTEGER,
            lock_expire_time INTEGER)""",
        """
        CREATE TABLE IF NOT EXISTS user_units (
            user_id TEXT NOT NULL, unit_id TEXT NOT NULL, is_primary INTEGER NOT NULL,
            PRIMARY KEY (user_id, unit_id))""",
        """
        CREATE TABLE IF NOT EXISTS units (
            unit_id TEXT PRIMARY KEY, name TEXT, parent_id TEXT, external_id TEXT, description TEXT)""",
        """
        CREATE TABLE IF NOT EXISTS user_groups (
            group_id TEXT PRIMARY KEY, name TEXT, external_id TEXT, description TEXT)""",
        """
        CREATE TABLE IF NOT EXISTS group_members (
            group_id TEXT NOT NULL, user_id TEXT NOT NULL, event_time INTEGER NOT NULL, present INTEGER NOT NULL,
            PRIMARY KEY (group_id, user_id))""",
        "CREATE INDEX IF NOT EXISTS group_members_by_user ON group_members (user_id)",
    };

    /** Envelopes are valid for half an hour, so nothing comes again after a week unless an administrator wants it to. */
    private static final long REMEMBERED_MS = 7L * 24 * 3_600_000;

    /** A kind of subject: its table, the column of its id there, its id in a record, and the events about it. */
    private record Kind(String table, String key, String id, Set<String> actions) {}

    private static final Map<String, Kind> KINDS = Map.of(
        "user", new Kind("users", "user_id", "userId", Set.of("create", "update_info", "update_password", "disable",
            "enable", "lock", "unlock", "update_primary_ou", "push", "delete")),
        "organizational_unit", new Kind("units", "unit_id", "organizationalUnitId", Set.of("create", "update",
            "update_parent_organizational_unit", "push", "delete")),
        "group", new Kind("user_groups", "group_id", "groupId", Set.of("create", "update", "add_user", "remove_user",
            "delete")));

    private static final Pattern TYPE = Pattern.compile("urn:alibaba:idaas:app:event:ud:(\\w+):(\\w+)");

    private static final String USER = """
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
        FROM users WHERE user_id = ?""";

    private final Connection db;

    Store(String path) throws SQLException {
        // One connection: SQLite has one writer anyway. Transactions are begun by hand, since with this driver
        // setAutoCommit(false) begins the next one, and keeps its lock, as soon as one ends.
        db = DriverManager.getConnection("jdbc:sqlite:" + path + "?busy_timeout=2000");
        try (var statement = db.createStatement()) {
            // WAL with FULL has every answered event on the disk.
            statement.execute("PRAGMA journal_mode = WAL");
            statement.execute("PRAGMA synchronous = FULL");
            for (String sql : SCHEMA) {
                statement.execute(sql);
            }
        }
    }

    /** Applies the events of one request, and says for each what became of it. */
    synchronized List<Outcome> take(List<JsonNode> events) {
        boolean isKept = false;
        try {
            long now = System.currentTimeMillis();
            run("BEGIN IMMEDIATE");
            run("DELETE FROM events WHERE received_at < ?1", now - REMEMBERED_MS);
            List<Outcome> outcomes = new ArrayList<>();
            for (JsonNode event : events) {
                outcomes.add(takeOne(event, now));
            }
            run("COMMIT");
            isKept = true;
            return outcomes;
        } catch (SQLException error) {
            // Nothing is kept, so everything is wanted again.
            return Collections.nCopies(events.size(), new Outcome(Verdict.retried, "the database: " + error.getMessage()));
        } finally {
            if (!isKept) {
                rollback();
            }
        }
    }

    private void rollback() {
        try {
            run("ROLLBACK");
        } catch (SQLException ignored) {
            // There is no transaction: it was not begun, or SQLite has undone it by itself, as when the disk is full.
        }
    }

    private Outcome takeOne(JsonNode event, long now) throws SQLException {
        String eventId = event.get("eventId").textValue();
        var known = query("SELECT list, message FROM events WHERE event_id = ?1", eventId);
        if (!known.isEmpty()) {
            return new Outcome(Verdict.valueOf((String) known.get(0)[0]), (String) known.get(0)[1]);
        }
        // A savepoint for each, so that the others do not suffer for one that the database refuses.
        run("SAVEPOINT event");
        Outcome outcome;
        try {
            outcome = apply(event);
            // A failure is not remembered: if it is sent again, somebody has mended something.
            if (outcome.verdict != Verdict.failed) {
                run("INSERT INTO events VALUES (?1, ?2, ?3, ?4)", eventId, outcome.verdict.name(), outcome.message, now);
            }
        } catch (SQLException error) {
            run("ROLLBACK TO event");
            outcome = new Outcome(Verdict.retried, "the database: " + error.getMessage());
        }
        run("RELEASE event");
        return outcome;
    }

    // ANCHOR: apply
    /** What one event does. The types that are not handled here are skipped. */
    private Outcome apply(JsonNode event) throws SQLException {
        try {
            String type = required(text(event, "eventType"), "eventType");
            if (type.equals("urn:alibaba:idaas:app:event:common:test")) {
                return Outcome.applied(true);
            }
            Matcher parts = TYPE.matcher(type);
            String name = parts.matches() ? parts.group(1) : "";
            String action = parts.matches() ? parts.group(2) : "";
            Kind kind = KINDS.get(name);
            boolean isInventory = type.equals("urn:rollcall:app:event:inventory");
            if (!isInventory && (kind == null || !kind.actions.contains(action))) {
                return new Outcome(Verdict.skipped, "");
            }
            long at = required(number(event, "eventTime"), "eventTime");
            JsonNode record = event.path("bizData");
            record = record.isTextual() ? Receiver.JSON.readTree(record.textValue()) : record;
            if (!record.isObject()) {
                throw new Malformed("bizData is not an object");
            }
            if (isInventory) {
                takeInventory(record, at);
                return Outcome.applied(true);
            }
            return switch (action) {
                case "delete" -> Outcome.applied(delete(name, kind, record, at));
                case "add_user", "remove_user" -> {
                    String group = required(text(record, "groupId"), "groupId");
                    setMembers(group, ids(record, "userIds"), at, action.equals("add_user"));
                    yield Outcome.applied(true);
                }
                // Everything else carries the whole record, so that it is written as it is: create or update.
                default -> Outcome.applied(switch (name) {
                    case "user" -> putUser(record, at);
                    case "group" -> putGroup(record, at);
                    default -> putUnit(record, at);
                });
            };
        } catch (Malformed error) {
            return new Outcome(Verdict.failed, error.getMessage());
        } catch (JsonProcessingException error) {
            return new Outcome(Verdict.failed, "bizData cannot be read: " + error.getOriginalMessage());
        }
    }
    // ANCHOR_END: apply

    /** Notes the time of a subject's event; says no if a later one is known. Equal times are in order. */
    private boolean isNews(String kind, String id, long at, boolean deleted) throws SQLException {
        return run("""
            INSERT INTO subjects VALUES (?1, ?2, ?3, ?4, CASE WHEN ?4 THEN ?3 END)
            ON CONFLICT (kind, id) DO UPDATE SET event_time = excluded.event_time, deleted = excluded.deleted,
                deleted_time = COALESCE(excluded.deleted_time, deleted_time)
            WHERE event_time <= excluded.event_time""", kind, id, at, deleted) > 0;
    }

    private void replace(String table, Object... values) throws SQLException {
        run("INSERT OR REPLACE INTO " + table + " VALUES (" + "?, ".repeat(values.length - 1) + "?)", values);
    }

    private boolean putUser(JsonNode record, long at) throws Malformed, SQLException {
        // `password` comes only if the administrator synchronizes passwords. Store a hash of it, never itself.
        String id = required(text(record, "userId"), "userId");
        Object[] user = {
            id, text(record, "username"), text(record, "displayName"), text(record, "email"), text(record, "phoneRegion"),
            text(record, "phoneNumber"), text(record, "status"), text(record, "userExternalId", "externalId"),
            text(record, "description"), number(record, "accountExpireTime"), number(record, "lockExpireTime"),
        };
        JsonNode listed = either(record, "userOrganizationalUnits", "organizationalUnits");
        if (listed != null && !listed.isArray()) {
            throw new Malformed("userOrganizationalUnits is not a list of units");
        }
        List<Object[]> units = new ArrayList<>();
        for (JsonNode unit : listed == null ? Receiver.JSON.createArrayNode() : listed) {
            String unitId = required(text(unit, "organizationalUnitId"), "organizationalUnitId");
            units.add(new Object[] {id, unitId, unit.path("primary").asBoolean()});
        }
        if (!isNews("user", id, at, false)) {
            return false;
        }
        replace("users", user);
        run("DELETE FROM user_units WHERE user_id = ?1", id);
        for (Object[] unit : units) {
            replace("user_units", unit);
        }
        return true;
    }

    private boolean putUnit(JsonNode record, long at) throws Malformed, SQLException {
        String id = required(text(record, "organizationalUnitId"), "organizationalUnitId");
        Object[] unit = {
            id, text(record, "organizationalUnitName", "name"), text(record, "parentId"),
            text(record, "organizationalUnitExternalId", "externalId"), text(record, "description"),
        };
        boolean isNews = isNews("organizational_unit", id, at, false);
        if (isNews) {
            replace("units", unit);
        }
        return isNews;
    }

    private boolean putGroup(JsonNode record, long at) throws Malformed, SQLException {
        String id = required(text(record, "groupId"), "groupId");
        Object[] group = {
            id, text(record, "groupName", "name"), text(record, "groupExternalId", "externalId"),
            text(record, "description"),
        };
        boolean isNews = isNews("group", id, at, false);
        if (isNews) {
            replace("user_groups", group);
        }
        return isNews;
    }

    private boolean delete(String name, Kind kind, JsonNode record, long at) throws Malformed, SQLException {
        String id = required(text(record, kind.id), kind.id);
        boolean isNews = isNews(name, id, at, true);
        if (isNews) {
            run("DELETE FROM " + kind.table + " WHERE " + kind.key + " = ?1", id);
            if (name.equals("user")) {
                run("DELETE FROM user_units WHERE user_id = ?1", id);
            }
        }
        // A deletion that comes late, after the subject is back, still ends the memberships of its former life.
        run("UPDATE subjects SET deleted_time = MAX(COALESCE(deleted_time, ?3), ?3) WHERE kind = ?1 AND id = ?2",
            name, id, at);
        if (!name.equals("organizational_unit")) {
            run("DELETE FROM group_members WHERE " + kind.key + " = ?1 AND event_time <= ?2", id, at);
        }
        return isNews;
    }

    /** Each membership has a time of its own, and does not outlive the group nor the user. */
    private void setMembers(String group, ArrayNode users, long at, boolean present) throws SQLException {
        run("""
            INSERT INTO group_members SELECT DISTINCT ?1, value, ?2, ?3 FROM json_each(?4)
            WHERE NOT EXISTS (
                SELECT 1 FROM subjects
                WHERE (kind = 'group' AND id = ?1 OR kind = 'user' AND id = value)
                  AND (deleted_time > ?2 OR deleted AND event_time = ?2))
            ON CONFLICT (group_id, user_id) DO UPDATE SET event_time = excluded.event_time, present = excluded.present
            WHERE event_time <= excluded.event_time""", group, at, present, users.toString());
    }

    /** The end of a full synchronization: what is not named, and not heard of since, is gone. */
    private void takeInventory(JsonNode record, long at) throws Malformed, SQLException {
        String name = text(record, "subjectKind");
        String group = text(record, "groupId");
        String after = text(record, "after");
        String through = text(record, "through");
        ArrayNode ids = ids(record, "ids");
        Kind kind = name == null ? null : KINDS.get(name);
        boolean isSound = after != null && ("group_member".equals(name) ? group != null : kind != null && group == null);
        for (JsonNode id : ids) {
            isSound = isSound && isAfter(id.textValue(), after) && (through == null || !isAfter(id.textValue(), through));
        }
        if (!isSound) {
            throw new Malformed("the inventory cannot be read, and what is gone cannot be told");
        }
        if (kind == null) {
            run("UPDATE group_members SET event_time = ?4, present = 0 WHERE group_id = ?5 AND event_time <= ?4 AND "
                + unnamed("user_id"), after, through, ids.toString(), at, group);
            setMembers(group, ids, at, true);
            return;
        }
        run("""
            UPDATE subjects SET deleted = deleted OR event_time <= ?4, event_time = MAX(event_time, ?4),
                deleted_time = MAX(COALESCE(deleted_time, ?4), ?4)
            WHERE kind = ?5 AND\s""" + unnamed("id"), after, through, ids.toString(), at, name);
        for (String table : name.equals("user") ? List.of(kind.table, "user_units") : List.of(kind.table)) {
            run("DELETE FROM " + table + " WHERE " + unnamed(kind.key) + " AND " + kind.key
                + " IN (SELECT id FROM subjects WHERE kind = ?4 AND deleted)", after, through, ids.toString(), name);
        }
        if (!name.equals("organizational_unit")) {
            run("DELETE FROM group_members WHERE event_time <= ?4 AND " + unnamed(kind.key),
                after, through, ids.toString(), at);
        }
    }

    /** An id of a range that an inventory does not name, so that it should not be there. */
    private static String unnamed(String id) {
        return "%1$s > ?1 AND (?2 IS NULL OR %1$s <= ?2) AND %1$s NOT IN (SELECT value FROM json_each(?3))".formatted(id);
    }

    /** Ids are in the order of their bytes, which is not always the order of Java's strings. */
    private static boolean isAfter(String a, String b) {
        return Arrays.compareUnsigned(a.getBytes(StandardCharsets.UTF_8), b.getBytes(StandardCharsets.UTF_8)) > 0;
    }

    /** One user as it is stored, or null. */
    synchronized JsonNode user(String id) throws SQLException, JsonProcessingException {
        var found = query(USER, id);
        return found.isEmpty() ? null : Receiver.JSON.readTree((String) found.get(0)[0]);
    }

    private PreparedStatement prepare(String sql, Object... values) throws SQLException {
        PreparedStatement statement = db.prepareStatement(sql);
        for (int index = 0; index < values.length; index++) {
            statement.setObject(index + 1, values[index]);
        }
        return statement;
    }

    private int run(String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = prepare(sql, values)) {
            return statement.executeUpdate();
        }
    }

    private List<Object[]> query(String sql, Object... values) throws SQLException {
        List<Object[]> found = new ArrayList<>();
        try (PreparedStatement statement = prepare(sql, values); ResultSet rows = statement.executeQuery()) {
            while (rows.next()) {
                Object[] row = new Object[rows.getMetaData().getColumnCount()];
                for (int column = 0; column < row.length; column++) {
                    row[column] = rows.getObject(column + 1);
                }
                found.add(row);
            }
        }
        return found;
    }

    /** The first of the names that has a value: two generations of names are in use. */
    private static JsonNode either(JsonNode record, String... names) {
        return Arrays.stream(names).map(record::get).filter(value -> value != null && !value.isNull()).findFirst()
            .orElse(null);
    }

    /** A text, or a number as text: numbers may be strings or not. */
    private static String text(JsonNode record, String... names) throws Malformed {
        JsonNode value = either(record, names);
        // Half of a surrogate pair is valid JSON, but no text that can be stored.
        boolean isText = value != null && value.isTextual() && StandardCharsets.UTF_8.newEncoder().canEncode(value.textValue());
        if (value != null && !value.isNumber() && !isText) {
            throw new Malformed(names[0] + " is not a text");
        }
        return value == null ? null : value.asText();
    }

    private static Long number(JsonNode record, String name) throws Malformed {
        String value = text(record, name);
        try {
            return value == null || value.isEmpty() ? null : Long.valueOf(value.strip());
        } catch (NumberFormatException error) {
            throw new Malformed(name + " is not a whole number");
        }
    }

    private static <T> T required(T value, String name) throws Malformed {
        if (value == null || value.equals("")) {
            throw new Malformed("the record has no " + name);
        }
        return value;
    }

    private static ArrayNode ids(JsonNode record, String name) throws Malformed {
        if (!(record.get(name) instanceof ArrayNode list)) {
            throw new Malformed(name + " is not a list of ids");
        }
        for (JsonNode id : list) {
            if (!id.isTextual() || id.textValue().isEmpty()) {
                throw new Malformed(name + " is not a list of ids");
            }
        }
        return list;
    }
}
