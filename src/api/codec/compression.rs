//! Compressed bodies: `gzip`, and `deflate` in its zlib form.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::types::{Code, InferError, Reason};

/// Smallest body that is worth compressing.
pub const MIN_COMPRESSED: usize = 1024;

/// Value for the `Accept-Encoding` header of an answer that refuses an encoding.
pub const ACCEPTED: &str = "gzip, deflate";

/// A body may grow to this size whatever it came from.
const FREE_GROWTH: usize = 1 << 20;

/// Beyond [`FREE_GROWTH`] a body may grow by this factor. Tensors stay far
/// below; what goes beyond is made to exhaust memory.
const MAX_RATIO: usize = 100;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Gzip,
    Deflate,
}

impl Encoding {
    /// The name in `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Gzip => "gzip",
            Encoding::Deflate => "deflate",
        }
    }

    /// Reads a `Content-Encoding`; `None` for `identity`. Others, and several
    /// at once, are [`Unimplemented`](Code::Unimplemented).
    pub fn of_request(content_encoding: &str) -> Result<Option<Encoding>, InferError> {
        let name = content_encoding.trim();
        if name.is_empty() || name.eq_ignore_ascii_case("identity") {
            return Ok(None);
        }
        parse(name).map(Some).ok_or_else(|| {
            InferError::new(
                Code::Unimplemented,
                format!("the content encoding is not supported: expected one of {ACCEPTED}"),
            )
        })
    }

    /// The encoding that an `Accept-Encoding` prefers, `gzip` before `deflate`
    /// where it values them the same; `None` to send the body as it is.
    pub fn of_answer(accept_encoding: &str) -> Option<Encoding> {
        // Quality of each in thousandths, where the header names it.
        let (mut gzip, mut deflate, mut identity, mut any) = (None, None, None, None);
        for entry in accept_encoding.split(',') {
            let (name, quality) = weigh(entry);
            match parse(name) {
                Some(Encoding::Gzip) => gzip = Some(quality),
                Some(Encoding::Deflate) => deflate = Some(quality),
                None if name.eq_ignore_ascii_case("identity") => identity = Some(quality),
                None if name == "*" => any = Some(quality),
                None => {}
            }
        }
        let gzip = gzip.or(any).unwrap_or(0);
        let deflate = deflate.or(any).unwrap_or(0);
        let (best, quality) =
            if gzip >= deflate { (Encoding::Gzip, gzip) } else { (Encoding::Deflate, deflate) };
        (quality > 0 && quality >= identity.unwrap_or(0)).then_some(best)
    }
}

fn parse(name: &str) -> Option<Encoding> {
    if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
        Some(Encoding::Gzip)
    } else if name.eq_ignore_ascii_case("deflate") {
        Some(Encoding::Deflate)
    } else {
        None
    }
}

/// Name and quality of one entry of `Accept-Encoding`; a quality that cannot
/// be read counts as 0.
fn weigh(entry: &str) -> (&str, u32) {
    let (name, parameters) = entry.split_once(';').unwrap_or((entry, ""));
    let quality = match parameters.trim() {
        "" => 1.0,
        parameter => parameter
            .strip_prefix(['q', 'Q'])
            .and_then(|rest| rest.trim_start().strip_prefix('='))
            .and_then(|value| value.trim().parse::<f32>().ok())
            .filter(|quality| (0.0..=1.0).contains(quality))
            .unwrap_or(0.0),
    };
    (name.trim(), (quality * 1000.0) as u32)
}

/// Inflates a request's body to at most `limit` bytes. Memory is taken as the
/// output grows, never by what the body claims.
pub fn inflate(encoding: Encoding, body: &[u8], limit: usize) -> Result<Bytes, InferError> {
    let growth = FREE_GROWTH.max(body.len().saturating_mul(MAX_RATIO));
    let most = limit.min(growth);
    let mut inflated = Vec::with_capacity(body.len().saturating_mul(4).min(most));
    // One byte past the limit tells a body that is too large from one that fits.
    let read_limit = (most as u64).saturating_add(1);
    let left = match encoding {
        Encoding::Gzip => {
            let mut decoder = MultiGzDecoder::new(body).take(read_limit);
            let read = decoder.read_to_end(&mut inflated);
            read.map(|_| decoder.into_inner().into_inner().len())
        }
        Encoding::Deflate => {
            let mut decoder = ZlibDecoder::new(body).take(read_limit);
            let read = decoder.read_to_end(&mut inflated);
            read.map(|_| decoder.into_inner().into_inner().len())
        }
    };
    let name = encoding.name();
    let left = left
        .map_err(|error| InferError::invalid(format!("the body is not valid {name}: {error}")))?;
    if inflated.len() > most {
        let message = if most == limit {
            format!("the inflated body has more than {limit} bytes")
        } else {
            format!("the body inflates to more than {MAX_RATIO} times its size")
        };
        return Err(InferError::rejected(Code::TooLarge, Reason::BodyTooLarge, message));
    }
    if left > 0 {
        return Err(InferError::invalid(format!("{left} bytes follow the end of the {name} body")));
    }
    Ok(Bytes::from(inflated))
}

/// Compresses the parts of an answer into one body.
pub fn deflate<'a>(encoding: Encoding, parts: impl IntoIterator<Item = &'a [u8]>) -> Bytes {
    // A vector takes every write, so that no error can come from here.
    const INFALLIBLE: &str = "a vector takes every write";
    let compressed = match encoding {
        Encoding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            parts.into_iter().for_each(|part| encoder.write_all(part).expect(INFALLIBLE));
            encoder.finish().expect(INFALLIBLE)
        }
        Encoding::Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            parts.into_iter().for_each(|part| encoder.write_all(part).expect(INFALLIBLE));
            encoder.finish().expect(INFALLIBLE)
        }
    };
    Bytes::from(compressed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Encoding; 2] = [Encoding::Gzip, Encoding::Deflate];

    fn squeezed(encoding: Encoding, body: &[u8]) -> Bytes {
        deflate(encoding, body.chunks(1000))
    }

    #[test]
    fn bodies_survive_the_round_trip() {
        let body: Vec<u8> = (0..10_000u32).flat_map(u32::to_le_bytes).collect();
        for encoding in BOTH {
            let small = squeezed(encoding, &body);
            assert!(small.len() < body.len());
            assert_eq!(inflate(encoding, &small, body.len()).expect("it fits"), body);
        }
    }

    #[test]
    fn what_grows_too_large_is_refused() {
        let (noise, zeros) = (vec![0; 4096], vec![0; 8 << 20]);
        for encoding in BOTH {
            let small = squeezed(encoding, &noise);
            let error = inflate(encoding, &small, 4095).expect_err("one byte too many");
            assert_eq!((error.code, error.reason), (Code::TooLarge, Some(Reason::BodyTooLarge)));
            let bomb = squeezed(encoding, &zeros);
            let error = inflate(encoding, &bomb, usize::MAX).expect_err("a bomb");
            assert!(error.message.contains("100 times"), "{error}");
            let modest = squeezed(encoding, &zeros[..FREE_GROWTH]);
            assert!(inflate(encoding, &modest, usize::MAX).is_ok());
        }
    }

    #[test]
    fn broken_bodies_are_refused() {
        for encoding in BOTH {
            let good = squeezed(encoding, b"some text");
            let longer = [&good[..], b"x"].concat();
            let mut flipped = good.to_vec();
            *flipped.last_mut().expect("not empty") ^= 1;
            for bad in [&b"not compressed"[..], b"", &good[..good.len() - 1], &longer, &flipped] {
                let error = inflate(encoding, bad, 1 << 20).expect_err("broken");
                assert_eq!(error.code, Code::InvalidArgument, "{bad:?}: {error}");
            }
        }
    }

    #[test]
    fn encodings_of_requests_are_read() {
        for (header, expected) in [
            ("", None),
            ("identity", None),
            ("gzip", Some(Encoding::Gzip)),
            (" X-GZIP ", Some(Encoding::Gzip)),
            ("Deflate", Some(Encoding::Deflate)),
        ] {
            assert_eq!(Encoding::of_request(header).expect(header), expected);
        }
        for header in ["br", "gzip, deflate", "gzip;q=1"] {
            let error = Encoding::of_request(header).expect_err(header);
            assert_eq!(error.code, Code::Unimplemented);
        }
    }

    #[test]
    fn the_preferred_encoding_is_chosen() {
        let (gzip, deflate) = (Some(Encoding::Gzip), Some(Encoding::Deflate));
        for (header, expected) in [
            ("", None),
            ("br", None),
            ("identity", None),
            ("gzip", gzip),
            ("deflate, gzip", gzip),
            ("deflate", deflate),
            ("gzip;q=0.5, deflate; q=0.8", deflate),
            ("gzip;q=0, deflate", deflate),
            ("gzip;q=0", None),
            ("*", gzip),
            ("*;q=0.5, gzip;q=0", deflate),
            ("gzip;q=0.5, identity", None),
            ("identity;q=0.5, gzip;q=1.0", gzip),
            ("gzip;q=nonsense", None),
            ("gzip;q=2", None),
        ] {
            assert_eq!(Encoding::of_answer(header), expected, "{header}");
        }
    }
}
