//! Any bytes as a model file beside one file of 16 bytes of weights.

#![no_main]

use std::collections::BTreeSet;
use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use modelgate::onnx::{ScanRules, scan_reader};

fuzz_target!(|input: &[u8]| {
    let rules = ScanRules { allowed_domains: BTreeSet::from(["mine".to_owned()]) };
    let beside = |name: &modelgate::types::FileName| {
        assert!(!name.as_str().contains(['/', '\\', '*']) && !name.as_str().starts_with('.'));
        if name.as_str() == "w.bin" { Ok(16) } else { Err("is not there".to_owned()) }
    };
    if let Ok(scan) = scan_reader(Cursor::new(input), input.len() as u64, &rules, &beside) {
        // Each takes two bytes at least.
        assert!((scan.nodes + scan.tensors) * 2 <= input.len() as u64);
        assert!(scan.external.len() <= 1);
    }
});
