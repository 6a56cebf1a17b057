//! A pull reader of JSON whose errors say where, what was expected and what came.

use std::borrow::Cow;
use std::fmt;

use jiter::{Jiter, JiterError, JiterErrorType, Peek};

use crate::types::InferError;

/// A part of the request, as errors name it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Body,
    Field(&'static str),
    Item(&'static str, usize),
    ItemField(&'static str, usize, &'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Body => f.write_str("body"),
            Place::Field(field) => f.write_str(field),
            Place::Item(list, index) => write!(f, "{list}[{index}]"),
            Place::ItemField(list, index, field) => write!(f, "{list}[{index}].{field}"),
        }
    }
}

/// Reads one document value by value. Strings borrow from the document where
/// they hold no escapes.
pub(super) struct Reader<'a> {
    text: &'a str,
    jiter: Jiter<'a>,
    /// Where in `text` the parser began.
    base: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Reader<'a> {
        Reader { text, jiter: Jiter::new(text.as_bytes()).with_allow_inf_nan(), base: 0 }
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// Offset of the next byte to read.
    pub(super) fn position(&self) -> usize {
        self.base + self.jiter.current_index()
    }

    /// Goes on behind a value that something else has read up to `position`.
    pub(super) fn resume_at(&mut self, position: usize) {
        let rest = self.text.as_bytes().get(position..).unwrap_or_default();
        self.jiter = Jiter::new(rest).with_allow_inf_nan();
        self.base = position;
    }

    pub(super) fn peek(&mut self) -> Result<Peek, InferError> {
        self.jiter.peek().map_err(|error| self.syntax(&error))
    }

    /// Opens an object and reads its first key; `None` where it is empty.
    pub(super) fn first_key(&mut self, place: Place) -> Result<Option<Cow<'a, str>>, InferError> {
        let peek = self.peek()?;
        if peek != Peek::Object {
            return Err(self.mismatch(place, "an object", peek));
        }
        let key = self.jiter.known_object().map(|key| key.map(|key| lift(self.text, key)));
        key.map_err(|error| self.syntax(&error))
    }

    pub(super) fn next_key(&mut self) -> Result<Option<Cow<'a, str>>, InferError> {
        let key = self.jiter.next_key().map(|key| key.map(|key| lift(self.text, key)));
        key.map_err(|error| self.syntax(&error))
    }

    /// Opens an array; whether it has an item.
    pub(super) fn first_item(&mut self, place: Place) -> Result<bool, InferError> {
        let peek = self.peek()?;
        if peek != Peek::Array {
            return Err(self.mismatch(place, "an array", peek));
        }
        let item = self.jiter.known_array().map(|item| item.is_some());
        item.map_err(|error| self.syntax(&error))
    }

    pub(super) fn next_item(&mut self) -> Result<bool, InferError> {
        let item = self.jiter.array_step().map(|item| item.is_some());
        item.map_err(|error| self.syntax(&error))
    }

    pub(super) fn string(&mut self, place: Place) -> Result<Cow<'a, str>, InferError> {
        let peek = self.peek()?;
        if peek != Peek::String {
            return Err(self.mismatch(place, "a string", peek));
        }
        let string = self.jiter.known_str().map(|string| lift(self.text, string));
        string.map_err(|error| self.syntax(&error))
    }

    /// Reads `true` or `false`, which `peek` has shown to come.
    pub(super) fn boolean(&mut self, peek: Peek) -> Result<bool, InferError> {
        self.jiter.known_bool(peek).map_err(|error| self.syntax(&error))
    }

    /// The text of a number, which `peek` has shown to come.
    pub(super) fn number(&mut self, peek: Peek) -> Result<&'a str, InferError> {
        let start = self.position();
        match self.jiter.known_number_bytes(peek).map(<[u8]>::len) {
            Ok(length) => Ok(self.text.get(start..start + length).unwrap_or_default()),
            Err(error) => Err(self.syntax(&error)),
        }
    }

    /// Reads `null` if it comes; whether it did.
    pub(super) fn null(&mut self) -> Result<bool, InferError> {
        if self.peek()? != Peek::Null {
            return Ok(false);
        }
        self.jiter.known_null().map(|()| true).map_err(|error| self.syntax(&error))
    }

    /// Reads over one value of any kind.
    pub(super) fn skip(&mut self) -> Result<(), InferError> {
        self.jiter.next_skip().map_err(|error| self.syntax(&error))
    }

    /// Checks that nothing but white space is left.
    pub(super) fn finish(&mut self) -> Result<(), InferError> {
        self.jiter.finish().map_err(|error| self.syntax(&error))
    }

    /// The error for a value of another kind than expected.
    pub(super) fn mismatch(&self, place: Place, expected: &str, got: Peek) -> InferError {
        let position = self.position();
        match kind(got) {
            Some(got) => InferError::invalid(format!(
                "{place}: expected {expected}, got {got} at {}",
                Spot::find(self.text, position)
            )),
            None => not_json(self.text, position, "expected a value"),
        }
    }

    fn syntax(&self, error: &JiterError) -> InferError {
        let position = self.base + error.index;
        match &error.error_type {
            JiterErrorType::JsonError(kind) => not_json(self.text, position, kind),
            wrong => InferError::invalid(format!("{wrong} at {}", Spot::find(self.text, position))),
        }
    }
}

/// The error for text that is not JSON.
#[cold]
pub(super) fn not_json(text: &str, position: usize, reason: impl fmt::Display) -> InferError {
    InferError::invalid(format!(
        "the body is not valid JSON: {reason} at {}",
        Spot::find(text, position)
    ))
}

/// What a value is, by its first byte; `None` where no value begins so.
pub(super) fn kind(peek: Peek) -> Option<&'static str> {
    match peek {
        Peek::Null => Some("null"),
        Peek::True => Some("true"),
        Peek::False => Some("false"),
        Peek::String => Some("a string"),
        Peek::Array => Some("an array"),
        Peek::Object => Some("an object"),
        number if number.is_num() => Some("a number"),
        _ => None,
    }
}

/// Line and column of a byte, both from 1; the column counts bytes.
pub(super) struct Spot {
    line: usize,
    column: usize,
}

impl Spot {
    pub(super) fn find(text: &str, position: usize) -> Spot {
        let before = &text.as_bytes()[..position.min(text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        Spot { line, column: before.len() - start + 1 }
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} column {}", self.line, self.column)
    }
}

/// Extends the life of a parsed string: it is a part of `text` where it held
/// no escapes, and is copied from the parser's buffer where it did.
fn lift<'a>(text: &'a str, parsed: &str) -> Cow<'a, str> {
    let offset = parsed.as_ptr().addr().wrapping_sub(text.as_ptr().addr());
    let end = offset.checked_add(parsed.len());
    match end.and_then(|end| text.get(offset..end)) {
        Some(part) => Cow::Borrowed(part),
        None => Cow::Owned(parsed.to_owned()),
    }
}
