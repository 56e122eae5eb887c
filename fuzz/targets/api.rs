#![cfg_attr(fuzzing, no_main)]
//! The property `rollcall_fuzz::api`, for libFuzzer.

rollcall_fuzz::target!(api);
