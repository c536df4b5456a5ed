//! The grammar of JSON (RFC 8259): one value after another, taken off a text that is in memory.

use std::borrow::Cow;

/// How deep arrays and objects may stand in each other, also where nobody looks: picojson's limit, which Mesos reads with.
const MAX_DEPTH: usize = 200;

/// A text, and how far it has been read.
#[derive(Debug)]
pub(super) struct Text<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// What a value is, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// Why a text is no JSON, or none that is read here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) reason: String,
    pub(super) at: usize,
}

impl<'a> Text<'a> {
    pub(super) fn new(text: &'a [u8]) -> Result<Self, Box<Malformed>> {
        let text = std::str::from_utf8(text).map_err(|error| Malformed {
            reason: "a byte is not UTF-8".to_owned(),
            at: error.valid_up_to(),
        });
        let text = text.map_err(Box::new)?;
        Ok(Self {
            text,
            at: 0,
            depth: 0,
        })
    }

    /// What comes next.
    #[inline]
    pub(super) fn sort(&mut self) -> Result<Sort, Box<Malformed>> {
        self.skip_space();
        match self.peek() {
            Some(b'n') => Ok(Sort::Null),
            Some(b't' | b'f') => Ok(Sort::Bool),
            Some(b'-' | b'0'..=b'9') => Ok(Sort::Number),
            Some(b'"') => Ok(Sort::String),
            Some(b'[') => Ok(Sort::Array),
            Some(b'{') => Ok(Sort::Object),
            Some(_) | None => Err(self.unexpected("a value")),
        }
    }

    /// The name of the next member of the object that was opened, or none when that was the last.
    pub(super) fn member(&mut self, first: bool) -> Result<Option<Cow<'a, str>>, Box<Malformed>> {
        if !self.another_member(first)? {
            return Ok(None);
        }
        self.name().map(Some)
    }

    /// Whether the object that was opened has another member.
    pub(super) fn another_member(&mut self, first: bool) -> Result<bool, Box<Malformed>> {
        self.another(first, b'}')
    }

    /// The name of a member.
    pub(super) fn name(&mut self) -> Result<Cow<'a, str>, Box<Malformed>> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a name in quotes"));
        }
        let name = self.string()?;
        self.skip_space();
        self.expect(b':', "a colon")?;
        Ok(name)
    }

    /// Whether what comes next is written just so. The second byte tells most of the time: the first of a name is a quote.
    #[inline]
    pub(super) fn begins_with(&self, key: &str) -> bool {
        let (rest, key) = (&self.text.as_bytes()[self.at..], key.as_bytes());
        rest.get(1) == key.get(1) && rest.starts_with(key)
    }

    /// Passes over what has been looked at.
    pub(super) const fn pass(&mut self, length: usize) {
        self.at += length;
    }

    /// Whether the array that was opened has another element.
    pub(super) fn element(&mut self, first: bool) -> Result<bool, Box<Malformed>> {
        self.another(first, b']')
    }

    /// Enters an array or an object.
    pub(super) fn open(&mut self) -> Result<(), Box<Malformed>> {
        if self.depth == MAX_DEPTH {
            return Err(self.malformed(format!(
                "values stand more than {MAX_DEPTH} deep in each other"
            )));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    pub(super) fn null(&mut self) -> Result<(), Box<Malformed>> {
        self.word("null")
    }

    pub(super) fn boolean(&mut self) -> Result<bool, Box<Malformed>> {
        let value = self.peek() == Some(b't');
        self.word(if value { "true" } else { "false" })?;
        Ok(value)
    }

    /// A number as it is written.
    pub(super) fn number(&mut self) -> Result<&'a str, Box<Malformed>> {
        let from = self.at;
        self.at += number_length(&self.text.as_bytes()[from..])
            .ok_or_else(|| self.unexpected("a number"))?;
        Ok(&self.text[from..self.at])
    }

    /// A string, without its quotes and escapes.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, Box<Malformed>> {
        self.at += 1;
        let plain = self.plain();
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        self.escaped(plain).map(Cow::Owned)
    }

    /// The rest of a string that begins with `plain`.
    fn escaped(&mut self, plain: &str) -> Result<String, Box<Malformed>> {
        let mut unescaped = plain.to_owned();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(unescaped);
                }
                Some(b'\\') => {
                    unescaped.push(self.escape()?);
                    unescaped.push_str(self.plain());
                }
                Some(_) => return Err(self.unexpected("no control character in a string")),
                None => return Err(self.unexpected("the end of a string")),
            }
        }
    }

    /// What comes next in a string and stands for itself.
    #[inline]
    fn plain(&mut self) -> &'a str {
        let from = self.at;
        self.at += plain_length(&self.text.as_bytes()[from..]);
        &self.text[from..self.at]
    }

    /// Passes over one value, whatever it is.
    pub(super) fn skip(&mut self) -> Result<(), Box<Malformed>> {
        match self.sort()? {
            Sort::Null => self.null(),
            Sort::Bool => self.boolean().map(drop),
            Sort::Number => self.number().map(drop),
            Sort::String => self.string().map(drop),
            Sort::Array => {
                self.open()?;
                let mut first = true;
                while self.element(first)? {
                    first = false;
                    self.skip()?;
                }
                Ok(())
            }
            Sort::Object => {
                self.open()?;
                let mut first = true;
                while self.member(first)?.is_some() {
                    first = false;
                    self.skip()?;
                }
                Ok(())
            }
        }
    }

    /// Makes sure that nothing follows.
    pub(super) fn end(&mut self) -> Result<(), Box<Malformed>> {
        self.skip_space();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("the end")),
        }
    }

    pub(super) fn malformed(&self, reason: String) -> Box<Malformed> {
        let at = self.at;
        Box::new(Malformed { reason, at })
    }

    /// Passes over the comma before another element, or the closing bracket.
    #[inline]
    fn another(&mut self, first: bool, close: u8) -> Result<bool, Box<Malformed>> {
        self.skip_space();
        if self.peek() == Some(close) {
            self.at += 1;
            self.depth -= 1;
            return Ok(false);
        }
        if !first {
            let expected = if close == b']' {
                "a comma or ]"
            } else {
                "a comma or }"
            };
            self.expect(b',', expected)?;
            self.skip_space();
        }
        Ok(true)
    }

    /// The character that an escape stands for.
    fn escape(&mut self) -> Result<char, Box<Malformed>> {
        self.at += 1;
        let escaped = self.peek();
        self.at += 1;
        Ok(match escaped {
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
            Some(b'b') => '\u{8}',
            Some(b't') => '\t',
            Some(b'n') => '\n',
            Some(b'f') => '\u{c}',
            Some(b'r') => '\r',
            Some(b'u') => return self.escaped_number(),
            Some(_) | None => {
                self.at -= 1;
                return Err(self.unexpected("an escape"));
            }
        })
    }

    /// The character of `\uXXXX`, or of two of them that are a pair of surrogates.
    fn escaped_number(&mut self) -> Result<char, Box<Malformed>> {
        let high = self.four_digits()?;
        if let Some(character) = char::from_u32(high) {
            return Ok(character);
        }
        let low = match self.text.as_bytes().get(self.at..self.at + 2) {
            Some(b"\\u") if high < 0xdc00 => {
                self.at += 2;
                self.four_digits()?
            }
            Some(_) | None => 0,
        };
        let pair = (0xdc00..0xe000)
            .contains(&low)
            .then(|| char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)));
        pair.flatten()
            .ok_or_else(|| self.malformed("half of a pair of surrogates stands alone".to_owned()))
    }

    fn four_digits(&mut self) -> Result<u32, Box<Malformed>> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let number = digits.and_then(|digits| {
            digits.iter().try_fold(0, |number, &digit| {
                Some(number * 16 + char::from(digit).to_digit(16)?)
            })
        });
        let number = number.ok_or_else(|| self.unexpected("four hexadecimal digits"))?;
        self.at += 4;
        Ok(number)
    }

    fn word(&mut self, word: &str) -> Result<(), Box<Malformed>> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.unexpected(word));
        }
        self.at += word.len();
        Ok(())
    }

    fn expect(&mut self, byte: u8, what: &str) -> Result<(), Box<Malformed>> {
        if self.peek() != Some(byte) {
            return Err(self.unexpected(what));
        }
        self.at += 1;
        Ok(())
    }

    fn unexpected(&self, expected: &str) -> Box<Malformed> {
        let found = match self
            .text
            .get(self.at..)
            .and_then(|rest| rest.chars().next())
        {
            Some(found) => format!("{found:?}"),
            None => "the end".to_owned(),
        };
        self.malformed(format!("expected {expected}, found {found}"))
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }
}

/// How long the number is that a text begins with: `-0.5e+10`. None: it begins with no number.
fn number_length(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| {
        let rest = text.get(from..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (length > 0).then_some(from + length)
    };
    let start = usize::from(text.first() == Some(&b'-'));
    let mut end = digits(start)?;
    if text[start] == b'0' && end > start + 1 {
        return None;
    }
    if text.get(end) == Some(&b'.') {
        end = digits(end + 1)?;
    }
    if let Some(b'e' | b'E') = text.get(end) {
        let signed = matches!(text.get(end + 1), Some(b'+' | b'-'));
        end = digits(end + 1 + usize::from(signed))?;
    }
    Some(end)
}

/// How many bytes stand in a string as they are: up to a quote, a backslash or a control character. Looks at eight at a time.
pub(super) fn plain_length(text: &[u8]) -> usize {
    /// A byte in each byte of a word.
    const fn each(byte: u8) -> u64 {
        u64::from_le_bytes([byte; 8])
    }
    /// The highest bit of each byte that is less than `bound`, as far as the first one.
    const fn less(word: u64, bound: u8) -> u64 {
        word.wrapping_sub(each(bound)) & !word & each(0x80)
    }
    let mut length = 0;
    while let Some(eight) = text[length..].first_chunk() {
        let word = u64::from_le_bytes(*eight);
        let quote = less(word ^ each(b'"'), 1);
        let backslash = less(word ^ each(b'\\'), 1);
        let special = quote | backslash | less(word, 0x20);
        if special != 0 {
            return length + special.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let rest = text[length..].iter();
    let plain = |byte: &&u8| !matches!(byte, b'"' | b'\\' | 0..0x20);
    length + rest.take_while(plain).count()
}

/// A text that is one number and nothing else.
pub(super) fn is_number(text: &str) -> bool {
    number_length(text.as_bytes()) == Some(text.len())
}
