//! The way out: the HTTP client, the threads that sign, and the patience with which a request is carried.

pub mod egress;
pub(super) mod sender;
pub mod signing;
mod trial;
