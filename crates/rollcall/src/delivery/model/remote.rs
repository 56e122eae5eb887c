//! What is remembered of a user or a group at an application that gives its objects ids of its own.

use rollcall_protocol::SubjectKind;

/// How long a digest is.
pub const DIGEST_BYTES: usize = 32;

/// A digest of what an application was told.
pub type Digest = [u8; DIGEST_BYTES];

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The application's id for the object.
    pub id: String,
    /// What it was told last; `None` if that is not known.
    pub told: Option<Digest>,
    /// The version that the application gave it.
    pub etag: Option<String>,
    /// Whether it was disabled there, because whom it stands for has left.
    pub left: bool,
    /// Whether a group's members have to be compared with those that it has there, when it is told next.
    pub members_in_doubt: bool,
}

/// What is remembered of a user or a group from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// A user or a group.
    pub kind: SubjectKind,
    /// Its id in the directory.
    pub subject_id: String,
    /// What is remembered; `None`: nothing any more.
    pub remote: Option<Remote>,
}
