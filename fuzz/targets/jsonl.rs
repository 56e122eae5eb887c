#![cfg_attr(fuzzing, no_main)]
//! The property `rollcall_fuzz::jsonl`, for libFuzzer.

rollcall_fuzz::target!(jsonl);
