#![cfg_attr(fuzzing, no_main)]
//! The property `rollcall_fuzz::envelope`, for libFuzzer.

rollcall_fuzz::target!(envelope);
