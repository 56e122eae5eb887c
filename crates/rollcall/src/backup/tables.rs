//! The tables that a backup holds, and what their columns hold.

use serde::{Deserialize, Serialize};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// A string.
    Text,
    Int,
    Bool,
    Blob,
}

/// A table: its columns, and those that order its rows and tell them apart.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [(&'static str, Kind)],
    pub(super) key: &'static [&'static str],
}

use Kind::{Blob, Bool, Int, Text};

/// All tables, those before that others refer to. Sessions, and the sign-ins that failed of late, stay behind: who is
/// signed in at one hub is not at another.
const TABLES: [Table; 19] = [
    Table {
        name: "instance",
        columns: &[
            ("id", Text),
            ("ali_uid", Text),
            ("applications_version", Int),
            ("created_at", Int),
            ("folding", Int),
            ("serving", Text),
        ],
        key: &["id"],
    },
    Table {
        name: "master_key_check",
        columns: &[("id", Int), ("sealed", Blob)],
        key: &["id"],
    },
    Table {
        name: "change_head",
        columns: &[("id", Int), ("seq", Int), ("time", Int)],
        key: &["id"],
    },
    Table {
        name: "organizational_units",
        columns: &[
            ("id", Text),
            ("parent_id", Text),
            ("name", Text),
            ("name_folded", Text),
            ("description", Text),
            ("source_type", Text),
            ("source_id", Text),
            ("external_id", Text),
            ("create_time", Int),
            ("update_time", Int),
        ],
        key: &["id"],
    },
    Table {
        name: "users",
        columns: &[
            ("id", Text),
            ("username", Text),
            ("username_folded", Text),
            ("display_name", Text),
            ("email", Text),
            ("email_folded", Text),
            ("email_verified", Bool),
            ("phone_region", Text),
            ("phone_number", Text),
            ("phone_verified", Bool),
            ("password_hash", Text),
            ("status", Text),
            ("account_expire_time", Int),
            ("lock_expire_time", Int),
            ("register_time", Int),
            ("description", Text),
            ("custom_fields", Text),
            ("source_type", Text),
            ("source_id", Text),
            ("external_id", Text),
            ("create_time", Int),
            ("update_time", Int),
        ],
        key: &["id"],
    },
    Table {
        name: "unit_members",
        columns: &[("user_id", Text), ("unit_id", Text), ("is_primary", Bool)],
        key: &["user_id", "unit_id"],
    },
    Table {
        name: "groups",
        columns: &[
            ("id", Text),
            ("name", Text),
            ("name_folded", Text),
            ("description", Text),
            ("source_type", Text),
            ("source_id", Text),
            ("external_id", Text),
            ("create_time", Int),
            ("update_time", Int),
        ],
        key: &["id"],
    },
    Table {
        name: "group_members",
        columns: &[("group_id", Text), ("user_id", Text)],
        key: &["group_id", "user_id"],
    },
    Table {
        name: "changes",
        columns: &[
            ("seq", Int),
            ("event_id", Text),
            ("kind", Text),
            ("subject_kind", Text),
            ("subject_id", Text),
            ("time", Int),
            ("actor", Text),
            ("record", Text),
            ("previous", Text),
            ("placed_before", Text),
            ("placed_after", Text),
            ("secret", Blob),
            ("origin", Text),
        ],
        key: &["seq"],
    },
    Table {
        name: "applications",
        columns: &[
            ("id", Text),
            ("name", Text),
            ("name_folded", Text),
            ("synchronize", Bool),
            ("settings", Text),
            ("encryption_key", Blob),
            ("version", Int),
            ("create_time", Int),
            ("update_time", Int),
        ],
        key: &["id"],
    },
    Table {
        name: "deliveries",
        columns: &[
            ("application_id", Text),
            ("position", Int),
            ("revision", Int),
            ("epoch", Int),
            ("suspended", Text),
            ("last_attempt", Int),
        ],
        key: &["application_id"],
    },
    Table {
        name: "entitlements",
        columns: &[
            ("application_id", Text),
            ("from_seq", Int),
            ("scope", Text),
            ("subscription", Text),
        ],
        key: &["application_id", "from_seq"],
    },
    Table {
        name: "signing_keys",
        columns: &[
            ("kid", Text),
            ("application_id", Text),
            ("private_key", Blob),
            ("public_jwk", Text),
            ("created_at", Int),
            ("signs_from", Int),
            ("retires_at", Int),
            ("trial", Text),
        ],
        key: &["kid"],
    },
    Table {
        name: "attempts",
        columns: &[
            ("id", Int),
            ("application_id", Text),
            ("source", Text),
            ("from_seq", Int),
            ("to_seq", Int),
            ("lane", Int),
            ("lanes", Int),
            ("try_number", Int),
            ("started_at", Int),
            ("latency_us", Int),
            ("outcome", Text),
            ("http_status", Int),
            ("events", Int),
            ("succeeded", Int),
            ("assumed", Int),
            ("skipped", Int),
            ("failed", Int),
            ("retried", Int),
            ("exceptions", Text),
            ("detail", Text),
            ("said", Text),
            ("previous", Int),
            ("carried", Text),
            ("next_try", Int),
        ],
        key: &["id"],
    },
    Table {
        name: "parked_events",
        columns: &[
            ("id", Int),
            ("application_id", Text),
            ("subject_id", Text),
            ("event_id", Text),
            ("event_type", Text),
            ("seq", Int),
            ("event_time", Int),
            ("record", Text),
            ("state", Text),
            ("attempts", Int),
            ("strikes", Int),
            ("next_try", Int),
            ("code", Text),
            ("message", Text),
        ],
        key: &["id"],
    },
    Table {
        name: "jobs",
        columns: &[
            ("id", Text),
            ("application_id", Text),
            ("kind", Text),
            ("trigger", Text),
            ("status", Text),
            ("position_seq", Int),
            ("progress", Text),
            ("statistics", Text),
            ("error", Text),
            ("created_at", Int),
            ("started_at", Int),
            ("ended_at", Int),
        ],
        key: &["id"],
    },
    Table {
        name: "accounts",
        columns: &[
            ("id", Text),
            ("name", Text),
            ("name_folded", Text),
            ("display_name", Text),
            ("email", Text),
            ("role", Text),
            ("applications", Text),
            ("password_hash", Text),
            ("must_change_password", Bool),
            ("disabled", Bool),
            ("create_time", Int),
            ("update_time", Int),
            ("last_sign_in", Int),
            ("issuer", Text),
            ("subject", Text),
        ],
        key: &["id"],
    },
    Table {
        name: "api_tokens",
        columns: &[
            ("id", Text),
            ("name", Text),
            ("prefix", Text),
            ("hash", Text),
            ("role", Text),
            ("applications", Text),
            ("created_by", Text),
            ("create_time", Int),
            ("expires_at", Int),
            ("last_used", Int),
        ],
        key: &["id"],
    },
    Table {
        name: "audit_entries",
        columns: &[
            ("id", Int),
            ("time", Int),
            ("actor", Text),
            ("origin", Text),
            ("action", Text),
            ("target_kind", Text),
            ("target_id", Text),
            ("target_name", Text),
            ("before", Text),
            ("after", Text),
        ],
        key: &["id"],
    },
];

/// The tables whose rows the database numbers.
pub(super) const NUMBERED: [&str; 3] = ["attempts", "parked_events", "audit_entries"];

/// Refers to a job, so it comes after all of them.
const JOB_ITEMS: Table = Table {
    name: "job_items",
    columns: &[
        ("job_id", Text),
        ("ordinal", Int),
        ("action", Text),
        ("subject_kind", Text),
        ("subject_id", Text),
        ("record", Text),
    ],
    key: &["job_id", "ordinal"],
};

pub(super) fn tables() -> impl Iterator<Item = &'static Table> {
    TABLES.iter().chain(std::iter::once(&JOB_ITEMS))
}
