#![cfg_attr(fuzzing, no_main)]
//! The property `rollcall_fuzz::receiver`, for libFuzzer.

rollcall_fuzz::target!(receiver);
