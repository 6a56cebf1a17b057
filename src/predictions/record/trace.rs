//! The caller's trace, as W3C Trace Context names it.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    pub trace: [u8; 16],
    pub span: [u8; 8],
}

impl Trace {
    /// Reads a W3C `traceparent`: version, trace, parent and flags in hexadecimal digits.
    pub fn parse(header: &[u8]) -> Option<Trace> {
        fn bytes<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
            let mut bytes = [0; N];
            for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
                let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
                *byte = u8::try_from(high? * 16 + low?).ok()?;
            }
            // All zeros is how none is written.
            (bytes != [0; N]).then_some(bytes)
        }
        let (head, rest) = header.split_at_checked(55)?;
        let is_framed = head[2] == b'-' && head[35] == b'-' && head[52] == b'-';
        let is_known = rest.is_empty() || rest[0] == b'-';
        if !is_framed || !is_known {
            return None;
        }
        Some(Trace { trace: bytes(&head[3..35])?, span: bytes(&head[36..52])? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read() {
        let header = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let found = Trace::parse(header).expect("a trace");
        assert_eq!((found.trace[0], found.trace[15], found.span[7]), (0x4b, 0x36, 0xb7));
        for bad in [
            &b""[..],
            &header[..54],
            b"00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            b"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            b"00 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Trace::parse(bad), None);
        }
    }
}
