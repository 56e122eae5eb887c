#![cfg_attr(fuzzing, no_main)]
//! The property `rollcall_fuzz::scim_patch`, for libFuzzer.

rollcall_fuzz::target!(scim_patch);
