//! Rollcall: a provisioning hub that keeps every application's user directory in step with yours.
//!
//! ARCHITECTURE.md walks through one change from its command to the receiver's answer.

pub mod access;
pub mod accounts;
pub mod api;
pub mod application;
pub mod audit;
pub mod backup;
pub mod bench;
pub mod change;
pub mod check;
pub mod cli;
pub mod clock;
pub mod compare;
pub mod config;
pub mod connection;
pub mod console;
pub mod delivery;
pub mod developer;
pub mod directory;
pub mod export;
pub mod health;
pub mod hub;
pub mod id;
pub mod import;
pub mod instance;
pub mod listen;
pub mod listing;
pub mod maintenance;
pub mod management;
pub mod meter;
pub mod once;
pub mod owner;
pub mod pace;
pub mod placement;
pub mod private;
pub mod schema;
pub mod scim;
pub mod secret;
pub mod sender;
pub mod signin;
pub mod trigger;
pub mod why;
