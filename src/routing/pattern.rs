//! Regular expressions over the bytes of a header, as tables of bounded size:
//! a match takes time linear in the value, no lock and no memory.

use regex_automata::dfa::dense::{BuildError, Builder, Config, DFA};
use regex_automata::dfa::{Automaton, StartKind};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind};

/// Characters of a pattern.
pub const MAX_PATTERN: usize = 256;
/// Bytes of a value that is looked at; a longer one fits no pattern.
pub const MAX_VALUE: usize = 4 * 1024;
/// Bytes of a table, and of what it is made from.
const MAX_TABLE: usize = 1 << 20;
/// Bytes that making a table may take meanwhile.
const MAX_EFFORT: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Pattern(DFA<Vec<u32>>);

impl Pattern {
    /// # Errors
    /// What is wrong with the text.
    pub(super) fn new(text: &str) -> Result<Pattern, String> {
        let length = text.chars().count();
        if length > MAX_PATTERN {
            return Err(format!(
                "expected a pattern of at most {MAX_PATTERN} characters, found {length}"
            ));
        }
        // All matches are followed, so that the last one found is the longest:
        // the whole value fits if, and only if, that one ends where it ends.
        let table = Config::new()
            .start_kind(StartKind::Anchored)
            .match_kind(MatchKind::All)
            .dfa_size_limit(Some(MAX_TABLE))
            .determinize_size_limit(Some(MAX_EFFORT));
        let states = thompson::Config::new().utf8(false).nfa_size_limit(Some(MAX_TABLE));
        let bytes = syntax::Config::new().unicode(false).utf8(false);
        let built = Builder::new().configure(table).thompson(states).syntax(bytes).build(text);
        built.map(Pattern).map_err(|error| describe(&error))
    }

    /// Bytes that the table takes.
    pub(super) fn size(&self) -> usize {
        self.0.memory_usage()
    }

    /// Whether the whole value fits.
    pub(super) fn fits(&self, value: &[u8]) -> bool {
        if value.len() > MAX_VALUE {
            return false;
        }
        let input = Input::new(value).anchored(Anchored::Yes);
        // It can only fail for ways of searching that are not used here.
        let longest = self.0.try_search_fwd(&input).ok().flatten();
        longest.is_some_and(|end| end.offset() == value.len())
    }
}

fn describe(error: &BuildError) -> String {
    if error.is_size_limit_exceeded() {
        return format!(
            "the pattern needs more than {MAX_TABLE} bytes as a table: lower its repetitions, or \
             use several rules"
        );
    }
    // The cause behind it says what is wrong, and where.
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    format!("not a regular expression over bytes: {cause}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, value: &[u8]) -> bool {
        Pattern::new(pattern).expect(pattern).fits(value)
    }

    #[test]
    fn the_whole_value_has_to_fit() {
        for (pattern, value, expected) in [
            ("a|ab", "ab", true),
            ("a|ab", "abc", false),
            ("ab|a", "a", true),
            ("a*?", "aaa", true),
            ("b", "abc", false),
            ("^abc$", "abc", true),
            ("", "", true),
            ("", "a", false),
            ("(?i)acme-[0-9]+", "ACME-42", true),
            ("(?x) a b # all of it", "ab", true),
            ("a)(b", "", false),
            (r"\w+", "ä", false),
            ("ä+", "ää", true),
            (r"eu-(west|north)-\d{1,2}", "eu-north-12", true),
            (r"eu-(west|north)-\d{1,2}", "eu-north-123", false),
        ] {
            let found = Pattern::new(pattern).is_ok_and(|made| made.fits(value.as_bytes()));
            assert_eq!(found, expected, "{pattern} on {value}");
        }
    }

    #[test]
    fn values_are_bytes() {
        assert!(fits(r"\xff.", b"\xff\xfe"));
        assert!(fits(".*", &[0x80; MAX_VALUE]));
        assert!(!fits(".*", &[b'a'; MAX_VALUE + 1]), "too long to be looked at");
    }

    #[test]
    fn what_would_be_large_is_refused() {
        for (pattern, part) in [
            (r"(?s).*a.{40}b", "more than 1048576 bytes"),
            (r"((a{100}){100}){100}", "bytes"),
            (&*"a".repeat(257), "at most 256 characters, found 257"),
            ("(a", "unclosed group"),
            (r"\p{Greek}", "not a regular expression"),
        ] {
            let error = Pattern::new(pattern).expect_err(pattern);
            assert!(error.contains(part), "{pattern}: {error}");
        }
    }
}
