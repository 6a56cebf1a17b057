//! Content that no version may have: what some program would execute.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::FileName;

/// Enough to hold a torch archive's first name and a program's header.
const HEAD: u64 = 4096;

const EXTENSIONS: [&str; 13] =
    ["so", "py", "pyc", "pkl", "pickle", "joblib", "pt", "pth", "dll", "dylib", "sh", "bat", "exe"];

/// Why a file of this name is not taken, or none.
pub(super) fn refused_name(name: &FileName) -> Option<String> {
    // All endings: shared objects are called `libx.so.1` too.
    let mut endings = name.as_str().split('.').skip(1);
    let refused = endings
        .find(|ending| EXTENSIONS.iter().any(|extension| ending.eq_ignore_ascii_case(extension)))?;
    Some(format!("'{name}' may be executed ('.{refused}'); a version holds data only"))
}

/// Why the file `name` at `path` is not taken for what it holds, or none.
pub(super) fn refused_content(name: &FileName, path: &Path) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    let mut head = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut head)?;
    let mut last = [0];
    if !head.is_empty() {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    let kind = kind(&head, last[0]);
    Ok(kind.map(|kind| format!("'{name}' is {kind}; a version holds data only")))
}

/// What of the forbidden a file is, by its first bytes and its last.
fn kind(head: &[u8], last: u8) -> Option<&'static str> {
    const MACH_O: [[u8; 4]; 4] = [
        [0xfe, 0xed, 0xfa, 0xce],
        [0xfe, 0xed, 0xfa, 0xcf],
        [0xce, 0xfa, 0xed, 0xfe],
        [0xcf, 0xfa, 0xed, 0xfe],
    ];
    if head.starts_with(b"\x7fELF") || MACH_O.iter().any(|magic| head.starts_with(magic)) {
        return Some("a program or shared library");
    }
    if is_windows_program(head) {
        return Some("a program or shared library");
    }
    if head.starts_with(b"#!/") {
        return Some("a script");
    }
    // Weights are raw numbers, which may begin with any two bytes: a pickle
    // tells itself by its next byte, or by the full stop at its end.
    let is_pickle = match head {
        [0x80, 4..=5, 0x95, ..] | [0x80, 2, 0x8a, 0x0a, ..] => true,
        [0x80, 2..=5, ..] => last == b'.',
        _ => false,
    };
    if is_pickle {
        return Some("a Python pickle");
    }
    // An archive of PyTorch begins with its pickle.
    let is_torch = head.starts_with(b"PK\x03\x04")
        && head.get(30..160.min(head.len())).is_some_and(|name| contains(name, b"data.pkl"));
    is_torch.then_some("a PyTorch archive, which holds a pickle")
}

fn is_windows_program(head: &[u8]) -> bool {
    let Some(Ok(at)) = head.get(0x3c..0x40).map(<[u8; 4]>::try_from) else { return false };
    let at = u32::from_le_bytes(at) as usize;
    head.starts_with(b"MZ") && head.get(at..).is_some_and(|rest| rest.starts_with(b"PE\0\0"))
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> FileName {
        FileName::parse(text).expect("a name")
    }

    #[test]
    fn what_runs_is_refused_by_its_name() {
        for bad in [
            "a.so",
            "a.SO",
            "lib.so.1.2",
            "a.py",
            "a.pyc",
            "a.pkl",
            "a.pickle",
            "a.joblib",
            "a.pt",
            "a.pth",
            "a.dll",
            "a.dylib",
            "a.sh",
            "a.Exe",
            "a.pkl.bin",
        ] {
            assert!(refused_name(&name(bad)).is_some(), "{bad}");
        }
        for good in ["model.onnx", "weights.bin", "README.md", "so", "labels.txt", "a.ptx"] {
            assert_eq!(refused_name(&name(good)), None, "{good}");
        }
    }

    #[test]
    fn what_runs_is_refused_by_its_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        let reason = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("a file");
            refused_content(&name("weights.bin"), &path).expect("it can be read")
        };
        let mut windows = vec![0; 0x80];
        windows[..2].copy_from_slice(b"MZ");
        windows[0x3c] = 0x40;
        windows[0x40..0x44].copy_from_slice(b"PE\0\0");
        let mut torch = b"PK\x03\x04".to_vec();
        torch.extend([0; 26]);
        torch.extend(b"archive/data.pkl");
        for bad in [
            b"\x7fELF\x02\x01".as_slice(),
            b"\xcf\xfa\xed\xfe\x07",
            b"#!/bin/sh\n",
            b"\x80\x04\x95\x1a\x00",
            b"\x80\x03}q\x00.",
            b"\x80\x02\x8a\x0al\xfc\x9c",
            &windows,
            &torch,
        ] {
            let reason = reason(bad).unwrap_or_else(|| panic!("{bad:?} must be refused"));
            assert!(reason.starts_with("'weights.bin' is"), "{reason}");
        }
        for good in
            [b"".as_slice(), b"\x80", b"\x80\x02\x00\x3f", b"MZ\x00\x3f", b"PK\x03\x04", b"# text"]
        {
            assert_eq!(reason(good), None, "{good:?}");
        }
    }
}
