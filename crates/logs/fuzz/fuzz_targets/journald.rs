//! Fuzzes `journald`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pawang_logs_fuzz::run("journald", data));
