#![cfg_attr(fuzzing, no_main)]
//! The property `rollcall_fuzz::bodies`, for libFuzzer.

rollcall_fuzz::target!(bodies);
