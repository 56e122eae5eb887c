#![cfg_attr(fuzzing, no_main)]
//! The property `rollcall_fuzz::batch`, for libFuzzer.

rollcall_fuzz::target!(batch);
