//! The way out: the HTTP client, what signs, and the patience with which a request is carried.

mod address;
pub mod egress;
pub mod failure;
pub(super) mod sender;
pub mod signing;
mod tls;
mod trial;
