#![cfg_attr(fuzzing, no_main)]
//! The property `rollcall_fuzz::signing`, for libFuzzer.

rollcall_fuzz::target!(signing);
