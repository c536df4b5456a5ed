//! Records one after another, in pieces of any size.

use bytes::Bytes;
use mete_proto::recordio::{self, Decoder, RecordError};

use crate::arbitrary::Dice;

/// All records of a stream that comes in these chunks.
fn records(decoder: &mut Decoder, chunks: &[&[u8]]) -> Result<Vec<Bytes>, RecordError> {
    let mut records = Vec::new();
    for chunk in chunks {
        let mut chunk = Bytes::copy_from_slice(chunk);
        while let Some(record) = decoder.next(&mut chunk)? {
            records.push(record);
        }
        assert!(
            chunk.is_empty(),
            "what is not a record yet is kept by the decoder"
        );
    }
    Ok(records)
}

#[test]
fn a_record_is_its_length_a_line_feed_and_its_bytes() {
    assert_eq!(
        recordio::encode(b"{\"type\":\"HEARTBEAT\"}"),
        "20\n{\"type\":\"HEARTBEAT\"}"
    );
    assert_eq!(recordio::encode(b""), "0\n");
    assert_eq!(recordio::encode(b"\n\n"), "2\n\n\n");
}

#[test]
fn records_come_whole_however_the_stream_is_cut() {
    let wanted: [&[u8]; 5] = [b"one", b"", b"3\nabc", &[0xff; 300], b"last"];
    let stream: Vec<u8> = wanted
        .iter()
        .flat_map(|record| recordio::encode(record))
        .collect();

    for seed in 0..500 {
        let mut dice = Dice::new(seed);
        let mut chunks: Vec<&[u8]> = Vec::new();
        let mut rest = stream.as_slice();
        while !rest.is_empty() {
            let most = [1, 7, 400][dice.below(3)];
            let (chunk, left) = rest.split_at((dice.below(most) + 1).min(rest.len()));
            chunks.push(chunk);
            rest = left;
        }
        let mut decoder = Decoder::new(300);

        assert_eq!(
            records(&mut decoder, &chunks).expect("records"),
            wanted,
            "{seed}"
        );
        assert!(decoder.is_between_records());
    }
}

#[test]
fn a_stream_may_end_between_records_only() {
    for (stream, may_end) in [
        ("", true),
        ("3\nabc", true),
        ("3", false),
        ("3\n", false),
        ("3\nab", false),
    ] {
        let mut decoder = Decoder::new(100);

        records(&mut decoder, &[stream.as_bytes()]).expect("no fault yet");

        assert_eq!(decoder.is_between_records(), may_end, "{stream:?}");
    }
}

#[test]
fn lengths_that_are_none_end_the_stream() {
    let cases: [(&str, RecordError); 9] = [
        ("\n", RecordError::NoLength),
        ("3\nabc\n", RecordError::NoLength),
        ("-1\n", RecordError::NoDigit(b'-')),
        ("+1\n", RecordError::NoDigit(b'+')),
        ("3 \n", RecordError::NoDigit(b' ')),
        ("3\r\nabc", RecordError::NoDigit(b'\r')),
        ("{\"type\"", RecordError::NoDigit(b'{')),
        ("000000000000000000003\n", RecordError::TooManyDigits),
        (
            "101\n",
            RecordError::TooLong {
                length: 101,
                most: 100,
            },
        ),
    ];
    for (stream, error) in cases {
        let mut decoder = Decoder::new(100);
        assert_eq!(
            records(&mut decoder, &[stream.as_bytes()]),
            Err(error),
            "{stream:?}"
        );
    }
    for length in [
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999",
    ] {
        let mut decoder = Decoder::new(usize::MAX - 1);
        let refused = records(&mut decoder, &[format!("{length}\n").as_bytes()]);
        assert!(
            matches!(refused, Err(RecordError::TooLong { .. })),
            "{length}: {refused:?}"
        );
    }
}

#[test]
fn a_record_may_be_as_long_as_the_bound() {
    let mut decoder = Decoder::new(3);

    assert_eq!(
        records(&mut decoder, &[b"3\nab", b"c0003\nabc"]).expect("records"),
        ["abc", "abc"]
    );
}
