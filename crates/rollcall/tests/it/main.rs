//! The hub against real databases, real HTTP and the real receiver.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits by the machine's clock"
)]

mod access;
mod api;
mod api_applications;
mod api_document;
mod api_requests;
mod api_schemathesis;
mod api_transfer;
mod app_door;
mod chaos;
mod check;
mod cli_delivery;
mod cli_doors;
mod cli_lists;
mod cli_use;
mod clocks;
mod closing;
mod connectivity;
mod console;
mod database;
mod delivery;
mod developer;
mod directory;
mod docs;
mod doors;
mod elsewhere;
mod encrypted;
mod envelope;
mod erasure;
mod faults;
mod forgetful;
mod health;
mod import;
mod import_again;
mod import_files;
mod killed;
mod leaving;
mod ledger;
mod listen;
mod memberships;
mod moments;
mod names;
mod nodes;
mod operate;
mod packages;
mod passwords;
mod plain;
mod plans;
mod poison;
mod programs;
mod records;
mod remote;
mod resend;
mod restore;
mod retention;
mod rotation;
mod scim;
mod scim_client;
mod scim_push;
mod self_test;
mod serving;
mod simulation;
mod sizes;
mod skips;
mod slapd;
mod strangers;
mod tidy;
mod trigger;
mod two_doors;
mod uses;
mod why;
mod world;
