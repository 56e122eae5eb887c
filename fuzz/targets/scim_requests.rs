#![cfg_attr(fuzzing, no_main)]
//! The property `rollcall_fuzz::scim_requests`, for libFuzzer.

rollcall_fuzz::target!(scim_requests);
