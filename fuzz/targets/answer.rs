#![cfg_attr(fuzzing, no_main)]
//! The property `rollcall_fuzz::answer`, for libFuzzer.

rollcall_fuzz::target!(answer);
