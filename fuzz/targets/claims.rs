#![cfg_attr(fuzzing, no_main)]
//! The property `rollcall_fuzz::claims`, for libFuzzer.

rollcall_fuzz::target!(claims);
