#![cfg_attr(fuzzing, no_main)]
//! The property `rollcall_fuzz::csv`, for libFuzzer.

rollcall_fuzz::target!(csv);
