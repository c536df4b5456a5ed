//! Server-sent events, cut out of a byte stream that may be split anywhere.
//!
//! Invariants: an event is handed out once, when its blank line has been read; a line or an event longer than its
//! bound ends the stream with an error instead of growing; bytes that are not UTF-8 are an error, not a guess.

/// The longest event, data and names together. A list of 20,000 services with ten instances each is about 25 MB.
pub const MAX_EVENT_BYTES: usize = 64 << 20;

/// One event as the stream carried it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The `event:` field; empty when the stream named none.
    pub name: String,
    /// The `data:` lines, joined by newlines.
    pub data: String,
    /// The last `id:` seen up to and including this event.
    pub id: Option<String>,
}

/// Why a stream cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadStream {
    /// More bytes than the bound without an end of the event.
    #[error("an event of more than {limit} bytes")]
    TooLong {
        /// The bound.
        limit: usize,
    },
    /// A line that is not UTF-8.
    #[error("a line that is not utf-8")]
    NotUtf8,
}

/// The reading of one stream: what has come of the current line and the current event.
#[derive(Debug)]
pub struct Parser {
    limit: usize,
    line: Vec<u8>,
    after_carriage_return: bool,
    started: bool,
    event: Event,
    has_data: bool,
    id: Option<String>,
}

impl Parser {
    /// A parser at the start of a stream. `limit` bounds one event in bytes, usually [`MAX_EVENT_BYTES`].
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            after_carriage_return: false,
            started: false,
            event: Event::default(),
            has_data: false,
            id: None,
        }
    }

    /// Takes the next bytes and returns the events that they complete, in order.
    ///
    /// # Errors
    /// When the stream breaks the bound or the encoding; the parser must not be used after that.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Event>, BadStream> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_carriage_return) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.keep(bytes)?;
                break;
            };
            self.keep(&bytes[..end])?;
            self.after_carriage_return = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            events.extend(self.end_of_line()?);
        }
        Ok(events)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), BadStream> {
        let held = self.line.len() + self.event.data.len() + bytes.len();
        if held > self.limit {
            return Err(BadStream::TooLong { limit: self.limit });
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_of_line(&mut self) -> Result<Option<Event>, BadStream> {
        let bytes = std::mem::take(&mut self.line);
        let mut line = std::str::from_utf8(&bytes).map_err(|_| BadStream::NotUtf8)?;
        if !std::mem::replace(&mut self.started, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            return Ok(self.end_of_event());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            // Comments (an empty field name), `retry` and fields of later days are passed over, as the standard says.
            _ => {}
        }
        Ok(None)
    }

    fn end_of_event(&mut self) -> Option<Event> {
        let event = std::mem::take(&mut self.event);
        // An event without data is not dispatched (WHATWG HTML §9.2.6); its id still counts.
        std::mem::take(&mut self.has_data).then(|| Event {
            id: self.id.clone(),
            ..event
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(name: &str, data: &str, id: Option<&str>) -> Event {
        Event {
            name: name.into(),
            data: data.into(),
            id: id.map(Into::into),
        }
    }

    const STREAM: &str = "\u{feff}: hello\nretry: 3000\nid: e-1\nevent: snapshot\ndata: {\"ä\":1}\n\n\
        event:heartbeat\r\ndata:\r\n\r\ndata: a\ndata:  b\n\nid: e-2\n\nevent: nothing\n\n\rdata: c\r\r";

    fn expected() -> Vec<Event> {
        vec![
            event("snapshot", "{\"ä\":1}", Some("e-1")),
            event("heartbeat", "", Some("e-1")),
            event("", "a\n b", Some("e-1")),
            event("", "c", Some("e-2")),
        ]
    }

    #[test]
    fn events_end_at_their_blank_line_and_keep_the_last_id() {
        let events = Parser::new(1000)
            .push(STREAM.as_bytes())
            .expect("a good stream");

        assert_eq!(events, expected());
    }

    #[test]
    fn an_event_beyond_the_bound_ends_the_stream() {
        let mut parser = Parser::new(20);

        assert_eq!(parser.push(b"data: 0123456789\n"), Ok(vec![]));
        assert_eq!(
            parser.push(b"data: 0123456789\n"),
            Err(BadStream::TooLong { limit: 20 })
        );
    }

    #[test]
    fn bytes_that_are_no_text_end_the_stream() {
        assert_eq!(
            Parser::new(100).push(b"data: \xff\n"),
            Err(BadStream::NotUtf8)
        );
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_changes_nothing(cuts in prop::collection::vec(0..STREAM.len(), 0..20)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let mut parser = Parser::new(1000);

            let mut events = Vec::new();
            for pair in cuts.windows(2) {
                events.extend(parser.push(&STREAM.as_bytes()[pair[0]..pair[1]]).expect("a good stream"));
            }

            prop_assert_eq!(events, expected());
        }

        #[test]
        fn garbage_is_an_error_or_nothing_but_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Parser::new(100).push(&bytes);
        }
    }
}
