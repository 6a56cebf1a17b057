//! Signatures of what is sent, by the scheme of Standard Webhooks: HMAC-SHA256
//! over `id.timestamp.body` (standardwebhooks.com, "Signature scheme").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use thiserror::Error;

/// Before the base64 of a key, as the scheme writes keys.
const PREFIX: &str = "whsec_";

/// Bytes of a key, by the scheme.
const LEAST: usize = 24;
const MOST: usize = 64;

/// Signs with one key. Nothing shows the key.
#[derive(Clone)]
pub struct Signer(Hmac<Sha256>);

/// Says nothing of the key itself.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    #[error("a key begins with {PREFIX} and goes on in base64; this one is not base64")]
    Form,
    #[error(
        "a key has {LEAST} to {MOST} bytes, and this one {0}; `openssl rand -base64 32` makes one"
    )]
    Length(usize),
}

impl Signer {
    /// Of `whsec_` and base64. A text without that beginning is the key itself.
    ///
    /// # Errors
    /// Where it is no base64, or too short or long.
    pub fn new(key: &str) -> Result<Signer, KeyError> {
        let key = match key.trim().strip_prefix(PREFIX) {
            Some(encoded) => STANDARD.decode(encoded).map_err(|_| KeyError::Form)?,
            None => key.trim().as_bytes().to_vec(),
        };
        if !(LEAST..=MOST).contains(&key.len()) {
            return Err(KeyError::Length(key.len()));
        }
        Hmac::new_from_slice(&key).map(Signer).map_err(|_| KeyError::Length(key.len()))
    }

    /// The value of `webhook-signature`. `seconds` are those of `webhook-timestamp`.
    pub fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that libraries of the scheme test themselves with.
    #[test]
    fn it_signs_as_others_do() {
        let signer = Signer::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a key");
        let signed =
            signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn keys_that_are_none_are_refused_unseen() {
        assert_eq!(Signer::new("whsec_???").unwrap_err(), KeyError::Form);
        assert_eq!(Signer::new("hunter2").unwrap_err(), KeyError::Length(7));
        let signer = Signer::new("0123456789abcdef0123456789abcdef").expect("a key");
        assert_eq!(format!("{signer:?}"), "Signer");
    }
}
