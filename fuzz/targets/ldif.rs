#![cfg_attr(fuzzing, no_main)]
//! The property `rollcall_fuzz::ldif`, for libFuzzer.

rollcall_fuzz::target!(ldif);
