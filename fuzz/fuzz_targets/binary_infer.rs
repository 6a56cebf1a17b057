//! Any body as JSON with binary data behind it; the first two bytes choose
//! where the JSON ends, as the header would.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use modelgate::api::codec::compression::{Encoding, inflate};
use modelgate::api::codec::{DecodeLimits, json};
use modelgate::types::Payload;

fuzz_target!(|input: &[u8]| {
    let Some((header, body)) = input.split_first_chunk::<2>() else { return };
    let header = usize::from(u16::from_le_bytes(*header));
    let body = Bytes::copy_from_slice(body);
    if let Ok(request) = json::decode_infer(&body, Some(header), &DecodeLimits::default()) {
        match &request.payload {
            Payload::Raw(data) => assert_eq!(*data, body),
            Payload::Inputs(inputs) => {
                for input in inputs {
                    let elements = input.tensor.shape().elements();
                    match input.tensor.dtype().size() {
                        Some(size) => assert_eq!(input.tensor.data().len(), elements * size),
                        None => assert_eq!(input.tensor.strings().count(), elements),
                    }
                }
            }
        }
    }
    for encoding in [Encoding::Gzip, Encoding::Deflate] {
        if let Ok(inflated) = inflate(encoding, &body, 1 << 16) {
            assert!(inflated.len() <= 1 << 16);
        }
    }
});
