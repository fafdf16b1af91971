#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aplomb::__fuzz::query_string(data));
