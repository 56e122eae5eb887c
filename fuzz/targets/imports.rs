#![cfg_attr(fuzzing, no_main)]
//! The property `rollcall_fuzz::imports`, for libFuzzer.

rollcall_fuzz::target!(imports);
