#![cfg_attr(fuzzing, no_main)]
//! The property `rollcall_fuzz::config`, for libFuzzer.

rollcall_fuzz::target!(config);
