#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callreel::fuzzing::websocket(data));
