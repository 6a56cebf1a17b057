//! The scan over models written by hand, byte by byte.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn number(field: u64, value: i64) -> Vec<u8> {
    [varint(field << 3), varint(value as u64)].concat()
}

fn message(field: u64, parts: &[Vec<u8>]) -> Vec<u8> {
    let content = parts.concat();
    [varint(field << 3 | 2), varint(content.len() as u64), content].concat()
}

fn text(field: u64, text: &str) -> Vec<u8> {
    message(field, &[text.as_bytes().to_vec()])
}

fn model(graph: &[Vec<u8>]) -> Vec<u8> {
    [number(1, 9), message(7, graph), message(8, &[number(2, 21)])].concat()
}

fn floats(dims: &[i64], more: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut parts: Vec<Vec<u8>> = dims.iter().map(|dim| number(1, *dim)).collect();
    parts.extend([number(2, 1), text(8, "w")]);
    parts.extend_from_slice(more);
    parts
}

fn entry(key: &str, value: &str) -> Vec<u8> {
    message(13, &[text(1, key), text(2, value)])
}

fn external(location: &str) -> Vec<Vec<u8>> {
    floats(&[2], &[entry("location", location), number(14, 1)])
}

/// Scans beside one file `w.bin` of 16 bytes.
fn scan_bytes(bytes: &[u8]) -> Result<Scan, ScanError> {
    let rules = ScanRules { allowed_domains: BTreeSet::from(["mine".to_owned()]) };
    scan_reader(Cursor::new(bytes), bytes.len() as u64, &rules, &|name| match name.as_str() {
        "w.bin" => Ok(16),
        _ => Err("is not there".to_owned()),
    })
}

fn refusal(bytes: &[u8]) -> String {
    scan_bytes(bytes).map(|_| "nothing").expect_err("a refusal").to_string()
}

/// Every place where a tensor can hide.
fn hiding_places(tensor: &[Vec<u8>]) -> Vec<(&'static str, Vec<u8>)> {
    let node = |attribute: &[Vec<u8>]| message(1, &[text(4, "Op"), message(5, attribute)]);
    let dense = [number(1, 1), number(2, 1), message(9, &[vec![0; 4]])];
    let indices = [number(1, 1), number(2, 7), message(9, &[vec![0; 8]])];
    let sparse = |values: &[Vec<u8>], indices: &[Vec<u8>]| {
        vec![message(1, values), message(2, indices), number(3, 4)]
    };
    let graph = [message(5, tensor)];
    let in_node = |attribute: &[Vec<u8>]| model(&[node(attribute)]);
    let deep = (0..5).fold(graph.to_vec(), |graph, _| vec![node(&[message(6, &graph)])]);
    let function =
        |part: Vec<u8>| [model(&[]), message(25, &[text(1, "F"), text(10, "mine"), part])].concat();
    vec![
        ("initializer", model(&graph)),
        ("sparse values", model(&[message(15, &sparse(tensor, &indices))])),
        ("sparse indices", model(&[message(15, &sparse(&dense, tensor))])),
        ("attribute t", in_node(&[message(5, tensor)])),
        ("attribute tensors", in_node(&[message(10, &dense), message(10, tensor)])),
        ("attribute sparse", in_node(&[message(22, &sparse(tensor, &indices))])),
        ("attribute sparses", in_node(&[message(23, &sparse(&dense, tensor))])),
        ("attribute graph", in_node(&[message(6, &graph)])),
        ("attribute graphs", in_node(&[message(11, &[]), message(11, &graph)])),
        ("deep graph", model(&deep)),
        (
            "function node",
            function(message(7, &[text(4, "Op"), message(5, &[message(5, tensor)])])),
        ),
        ("function default", function(message(11, &[message(5, tensor)]))),
        ("training", [model(&[]), message(20, &[message(1, &graph)])].concat()),
        ("training algorithm", [model(&[]), message(20, &[message(2, &graph)])].concat()),
    ]
}

#[test]
fn external_data_is_found_wherever_it_hides() {
    for (place, bytes) in hiding_places(&external("../secret")) {
        let refusal = refusal(&bytes);
        assert!(
            refusal.contains("tensor 'w'") && refusal.contains("../secret"),
            "{place}: {refusal}"
        );
    }
    for (place, bytes) in hiding_places(&external("w.bin")) {
        let scan = scan_bytes(&bytes).unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(scan.external.len(), 1, "{place}");
    }
}

#[test]
fn places_of_external_data_are_checked() {
    let at = |entries: &[(&str, &str)]| {
        let mut more: Vec<Vec<u8>> = entries.iter().map(|(key, value)| entry(key, value)).collect();
        more.push(number(14, 1));
        model(&[message(5, &floats(&[2], &more))])
    };
    let good: [&[(&str, &str)]; 3] = [
        &[("location", "w.bin")],
        &[("location", "w.bin"), ("offset", "8"), ("length", "8")],
        &[("checksum", "abc"), ("offset", "0"), ("location", "w.bin")],
    ];
    for entries in good {
        scan_bytes(&at(entries)).unwrap_or_else(|error| panic!("{entries:?}: {error}"));
    }
    let bad: [(&[(&str, &str)], &str); 14] = [
        (&[], "names no file"),
        (&[("location", "")], "not a file name"),
        (&[("location", "/etc/passwd")], "not a file name"),
        (&[("location", "*/_ORT_MEM_ADDR_/*")], "not a file name"),
        (&[("location", "none.bin")], "is not there"),
        (&[("location", "w.bin"), ("location", "w.bin")], "twice"),
        (&[("location", "w.bin"), ("offset", "9")], "reach past the end"),
        (&[("location", "w.bin"), ("offset", "18446744073709551608")], "expected a count"),
        (&[("location", "w.bin"), ("offset", "9223372036854775807")], "reach past the end"),
        (&[("location", "w.bin"), ("offset", "-8")], "expected a count"),
        (&[("location", "w.bin"), ("offset", "+8")], "expected a count"),
        (&[("location", "w.bin"), ("offset", "")], "expected a count"),
        (&[("location", "w.bin"), ("length", "4")], "its length"),
        (&[("location", "w.bin"), ("prepacked_0", "x")], "unknown entry"),
    ];
    for (entries, why) in bad {
        let refusal = refusal(&at(entries));
        assert!(refusal.contains(why), "{entries:?}: {refusal}");
    }
}

#[test]
fn tensors_hold_what_they_declare() {
    let tensor = |parts: &[Vec<u8>]| model(&[message(5, parts)]);
    let raw = |bytes: usize| message(9, &[vec![0; bytes]]);
    for good in [
        floats(&[2, 3], &[raw(24)]),
        floats(&[], &[raw(4)]),
        floats(&[0, 7], &[]),
        floats(&[2], &[message(4, &[vec![0; 8]])]),
        vec![number(1, 2), number(2, 8), text(6, "a"), text(6, "b")],
        vec![
            message(1, &[varint(2), varint(2)]),
            number(2, 7),
            number(7, 1),
            number(7, 2),
            number(7, 3),
            number(7, 4),
        ],
        // Seven elements of four bits.
        vec![number(1, 7), number(2, 22), raw(4)],
    ] {
        scan_bytes(&tensor(&good)).unwrap_or_else(|error| panic!("{good:?}: {error}"));
    }
    for (bad, why) in [
        (floats(&[2, 3], &[raw(23)]), "declares 6 elements, but it holds 23 bytes"),
        (floats(&[1 << 40], &[]), "holds at most 0 values"),
        (floats(&[1 << 40, 1 << 40], &[raw(4)]), "too many elements"),
        (floats(&[-1], &[raw(4)]), "a dimension is -1"),
        (floats(&[1; 65], &[raw(4)]), "too many dimensions"),
        (floats(&[1], &[raw(4), raw(4)]), "stands twice"),
        (floats(&[1], &[raw(4), message(4, &[vec![0; 4]])]), "both raw and typed"),
        (floats(&[1], &[raw(4), entry("location", "w.bin")]), "lies in the model"),
        (floats(&[1], &[raw(4), entry("location", "w.bin"), number(14, 1)]), "both in the model"),
        (floats(&[1], &[entry("location", "w.bin"), number(14, 2)]), "data location is 2"),
        (vec![number(1, 1), number(2, 8), raw(4)], "cannot be raw"),
        (vec![number(1, 1), number(2, 99), raw(4)], "element type 99"),
        (vec![number(1, 1), number(2, (1 << 32) + 1), raw(4)], "not of its kind"),
        (floats(&[1], &[raw(4), message(3, &[])]), "segments"),
    ] {
        let refusal = refusal(&tensor(&bad));
        assert!(refusal.contains(why), "{refusal}, expected {why}");
    }
}

#[test]
fn one_file_cannot_be_taken_a_thousand_times() {
    let whole = message(5, &floats(&[4], &[entry("location", "w.bin"), number(14, 1)]));
    scan_bytes(&model(&vec![whole.clone(); 4])).expect("shared weights");
    assert!(refusal(&model(&vec![whole; 5])).contains("more than four times"));
}

#[test]
fn sparse_tensors_are_bounded() {
    let values = [number(1, 1), number(2, 1), message(9, &[vec![0; 4]])];
    let indices = [number(1, 1), number(2, 7), message(9, &[vec![0; 8]])];
    let sparse = |dims: i64| {
        model(&[message(15, &[message(1, &values), message(2, &indices), number(3, dims)])])
    };
    scan_bytes(&sparse(1000)).expect("a small one");
    assert!(refusal(&sparse(1 << 40)).contains("spread out"));
}

#[test]
fn domains_are_allowed_by_name_or_defined_by_the_model() {
    let call = |domain: &str, op: &str| message(1, &[text(4, op), text(7, domain)]);
    let function = |domain: &str, name: &str| message(25, &[text(1, name), text(10, domain)]);
    for good in [
        model(&[call("", "Add"), call("ai.onnx", "Add"), call("ai.onnx.ml", "Scaler")]),
        model(&[call("mine", "X")]),
        [model(&[call("local", "F")]), function("local", "F")].concat(),
        [function("local", "F"), model(&[call("local", "F")])].concat(),
    ] {
        scan_bytes(&good).expect("an allowed domain");
    }
    for bad in [
        model(&[call("com.microsoft", "FusedMatMul")]),
        [model(&[call("local", "G")]), function("local", "F")].concat(),
        model(&[message(1, &[text(4, "If"), message(5, &[message(6, &[call("x", "y")])])])]),
    ] {
        assert!(refusal(&bad).contains("is not allowed"));
    }
    assert!(refusal(&model(&[call("mine", "EPContext")])).contains("reads files"));
}

#[test]
fn nesting_is_bounded() {
    let nested = |times: usize| {
        let node = |graph: &[Vec<u8>]| {
            vec![message(1, &[text(4, "If"), message(5, &[message(6, graph)])])]
        };
        model(&(0..times).fold(Vec::new(), |graph, _| node(&graph)))
    };
    scan_bytes(&nested(31)).expect("a deep model");
    assert!(refusal(&nested(32)).contains("graphs within graphs"));
    assert!(refusal(&nested(5_000)).contains("graphs within graphs"));
}

#[test]
fn a_model_that_ends_early_is_said_to_be_truncated() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    let weights = message(5, &floats(&[100], &[message(9, &[vec![7; 400]])]));
    let whole = [model(&[weights]), text(6, "documentation")].concat();
    let operators_end = whole.len() - 15;
    for end in 0..=whole.len() {
        std::fs::write(&path, &whole[..end]).expect("a file");
        let complete = incomplete(&whole[..end]).is_none();
        // Nobody can tell that the documentation is missing.
        assert_eq!(complete, end == whole.len() || end == operators_end, "{end} bytes");
        match scan(folder.path(), &ScanRules::default()) {
            Ok(scan) => assert!(complete && scan.tensors == 1, "{end} bytes"),
            Err(ScanError::Truncated { .. }) => assert!(!complete, "{end} bytes"),
            Err(other) => {
                let said = other.to_string();
                assert!(said.contains("empty") || said.contains("truncated"), "{end}: {said}");
            }
        }
    }
}

fn incomplete(bytes: &[u8]) -> Option<String> {
    why_incomplete(Cursor::new(bytes), bytes.len() as u64).expect("bytes in memory")
}

#[test]
fn what_is_no_model_is_never_complete() {
    for bytes in [&b""[..], b"hello, world", &[0; 64], &[0xff; 64], b"\x08\x07", b"\x3a\x00"] {
        assert!(incomplete(bytes).is_some(), "{bytes:?}");
    }
    assert_eq!(incomplete(b"\x08\x07\x3a\x00\x42\x00"), None, "the least that is whole");
}

#[test]
fn a_pipe_holds_nobody_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
    assert!(made.success());
    let said = scan_file(&pipe, &ScanRules::default()).expect_err("a refusal").to_string();
    assert!(said.contains("not a regular file"), "{said}");
}

#[test]
fn files_that_are_no_plain_files_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (outside, inside) = (folder.path().join("outside"), folder.path().join("inside"));
    std::fs::create_dir(&outside).expect("a folder");
    std::fs::create_dir(&inside).expect("a folder");
    std::fs::write(outside.join("secret"), [0; 16]).expect("a file");
    let write = |bytes: &[u8]| std::fs::write(inside.join("model.onnx"), bytes).expect("a file");
    let said = || scan(&inside, &ScanRules::default()).expect_err("a refusal").to_string();
    assert!(said().contains("cannot be read"));
    write(&model(&[message(5, &external("w.bin"))]));
    std::os::unix::fs::symlink(outside.join("secret"), inside.join("w.bin")).expect("a link");
    assert!(said().contains("symbolic link"));
    std::fs::remove_file(inside.join("w.bin")).expect("no link");
    std::fs::hard_link(outside.join("secret"), inside.join("w.bin")).expect("a link");
    assert!(said().contains("hard link"));
    std::fs::remove_file(inside.join("w.bin")).expect("no link");
    std::fs::create_dir(inside.join("w.bin")).expect("a folder");
    assert!(said().contains("not a regular file"));
    std::fs::remove_file(inside.join("model.onnx")).expect("no model");
    std::os::unix::fs::symlink(outside.join("secret"), inside.join("model.onnx")).expect("a link");
    assert!(said().contains("symbolic link") && !said().contains(&*outside.to_string_lossy()));
}

proptest! {
    /// Whatever the bytes, the scan ends with an answer and takes no memory to speak of.
    #[test]
    fn any_bytes_get_an_answer(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        flip in 0usize..400,
        to in any::<u8>(),
    ) {
        let _ = scan_bytes(&bytes);
        for (_, mut model) in hiding_places(&external("w.bin")) {
            let at = flip % model.len();
            model[at] = to;
            let _ = scan_bytes(&model);
        }
    }
}
