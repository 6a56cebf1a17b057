//! When a connection has outstayed its welcome. Pure; times in milliseconds
//! of one coarse clock.

/// Time limits of connections.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimits {
    /// From the first byte of a request's head to its last.
    pub head_ms: u64,
    /// Without any request under way.
    pub idle_ms: u64,
    /// An answer that the client does not read.
    pub write_ms: u64,
    /// A request under way without a byte read or written; longer than any
    /// request may take.
    pub stalled_ms: u64,
}

/// What is known of a connection at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub now: u64,
    /// Last byte read or written.
    pub progress: u64,
    /// Requests under way.
    pub active: u32,
    /// When the last request ended, or the connection began.
    pub idle_since: u64,
    /// First byte of a request's head, while the head is not complete (HTTP/1).
    pub head_since: Option<u64>,
    /// Since when the socket takes no more bytes.
    pub write_blocked_since: Option<u64>,
    /// When the peer was told that the connection ends.
    pub goodbye_since: Option<u64>,
}

/// How long a peer without requests may take to hang up once it was told
/// goodbye. HTTP/2 peers answer first, so this covers a slow round trip.
const GOODBYE_MS: u64 = 2_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Keep,
    /// Say goodbye (GOAWAY, `connection: close`).
    Close,
    /// Cut at once: the peer does not keep up its side.
    Cut,
}

pub fn judge(facts: &Facts, limits: &TimeLimits) -> Verdict {
    let since = |then: u64| facts.now.saturating_sub(then);
    if facts.write_blocked_since.is_some_and(|then| since(then) > limits.write_ms) {
        return Verdict::Cut;
    }
    if facts.active > 0 {
        let stalled = since(facts.progress) > limits.stalled_ms;
        return if stalled { Verdict::Cut } else { Verdict::Keep };
    }
    if facts.head_since.is_some_and(|then| since(then) > limits.head_ms) {
        return Verdict::Cut;
    }
    match facts.goodbye_since {
        // Counted from its last answer, which may have ended later.
        Some(then) if since(then.max(facts.idle_since)) > GOODBYE_MS => Verdict::Cut,
        Some(_) => Verdict::Keep,
        None if since(facts.idle_since) > limits.idle_ms => Verdict::Close,
        None => Verdict::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TimeLimits =
        TimeLimits { head_ms: 5, idle_ms: 60, write_ms: 30, stalled_ms: 100 };
    const FRESH: Facts = Facts {
        now: 1000,
        progress: 1000,
        active: 0,
        idle_since: 1000,
        head_since: None,
        write_blocked_since: None,
        goodbye_since: None,
    };

    #[test]
    fn each_limit_cuts_its_own_kind_of_slowness() {
        let table = [
            (FRESH, Verdict::Keep),
            (Facts { head_since: Some(995), ..FRESH }, Verdict::Keep),
            (Facts { head_since: Some(994), ..FRESH }, Verdict::Cut),
            (Facts { idle_since: 939, ..FRESH }, Verdict::Close),
            (Facts { idle_since: 879, goodbye_since: Some(940), ..FRESH }, Verdict::Keep),
            (Facts { now: 3001, goodbye_since: Some(940), ..FRESH }, Verdict::Cut),
            (Facts { now: 3000, goodbye_since: Some(940), ..FRESH }, Verdict::Keep),
            (
                Facts { now: 4000, progress: 3990, goodbye_since: Some(940), active: 1, ..FRESH },
                Verdict::Keep,
            ),
            (Facts { idle_since: 0, progress: 950, active: 1, ..FRESH }, Verdict::Keep),
            (Facts { idle_since: 0, progress: 899, active: 1, ..FRESH }, Verdict::Cut),
            (Facts { write_blocked_since: Some(969), active: 1, ..FRESH }, Verdict::Cut),
            (Facts { write_blocked_since: Some(971), active: 1, ..FRESH }, Verdict::Keep),
        ];
        for (facts, verdict) in table {
            assert_eq!(judge(&facts, &LIMITS), verdict, "{facts:?}");
        }
    }
}
