#![cfg_attr(fuzzing, no_main)]
//! The property `rollcall_fuzz::differential`, for libFuzzer.

rollcall_fuzz::target!(differential);
