#![cfg_attr(fuzzing, no_main)]
//! The property `rollcall_fuzz::jwks`, for libFuzzer.

rollcall_fuzz::target!(jwks);
