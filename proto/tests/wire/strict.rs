//! Required fields, and what is not a message at all.

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::Full;
use mete_proto::mesos::v1::scheduler::{Call, call};
use mete_proto::mesos::v1::{self as wire, offer};
use mete_proto::mete::v1::AgentMessage;
use mete_proto::strict::{DecodeError, StrictCodec, decode, missing};
use proptest::prelude::*;
use prost::Message as _;
use tonic::codec::{Codec as _, Streaming};

use super::task;

fn launch(tasks: Vec<wire::TaskInfo>) -> Call {
    let operation = wire::offer::Operation {
        launch: Some(offer::operation::Launch { task_infos: tasks }),
        ..wire::offer::Operation::default()
    };
    let accept = call::Accept {
        operations: vec![wire::offer::Operation::default(), operation],
        ..call::Accept::default()
    };
    let mut call = Call {
        accept: Some(accept),
        ..Call::default()
    };
    call.set_type(call::Type::Accept);
    call
}

/// The same message without the field of this number at its top level.
fn without(number: u32, message: &impl prost::Message) -> Vec<u8> {
    let encoded = message.encode_to_vec();
    let (mut rest, mut kept) = (&encoded[..], Vec::new());
    while !rest.is_empty() {
        let start = rest;
        let (found, kind) = prost::encoding::decode_key(&mut rest).expect("our own bytes");
        prost::encoding::skip_field(kind, found, &mut rest, Default::default())
            .expect("our own bytes");
        if found != number {
            kept.extend_from_slice(&start[..start.len() - rest.len()]);
        }
    }
    kept
}

/// One delimited field around bytes.
fn around(number: u32, inner: &[u8]) -> Vec<u8> {
    let mut outer = Vec::new();
    prost::encoding::encode_key(
        number,
        prost::encoding::WireType::LengthDelimited,
        &mut outer,
    );
    prost::encoding::encode_varint(inner.len() as u64, &mut outer);
    outer.extend_from_slice(inner);
    outer
}

#[test]
fn a_complete_message_is_read_as_it_was_written() {
    let call = launch(vec![task(), task()]);

    assert_eq!(decode::<Call>(call.encode_to_vec()), Ok(call));
}

#[test]
fn a_missing_field_is_named_by_its_path() {
    let whole = task().encode_to_vec();
    let without_id = without(2, &task());
    let tasks = [around(1, &whole), around(1, &without_id)].concat();
    let operations = [around(2, &[]), around(2, &around(2, &tasks))].concat();
    let encoded = around(4, &operations);

    assert_eq!(
        decode::<Call>(encoded).expect_err("incomplete").to_string(),
        "bad mesos.v1.scheduler.Call: accept.operations[1].launch.task_infos[1].task_id is missing"
    );
}

#[test]
fn an_empty_id_is_there_and_an_absent_one_is_not() {
    assert_eq!(missing::<wire::TaskId>(&[]).as_deref(), Some("value"));
    assert_eq!(
        missing::<wire::TaskId>(&wire::TaskId::default().encode_to_vec()),
        None
    );
}

#[test]
fn a_zero_that_is_required_must_be_written() {
    let range = wire::value::Range { begin: 0, end: 0 };

    assert_eq!(missing::<wire::value::Range>(&range.encode_to_vec()), None);
    assert_eq!(
        missing::<wire::value::Range>(&without(1, &range)).as_deref(),
        Some("begin")
    );
}

#[test]
fn required_fields_are_asked_for_inside_maps() {
    let mut limited = task();
    limited
        .limits
        .insert("cpus".to_owned(), wire::value::Scalar { value: 1.0 });
    assert_eq!(missing::<wire::TaskInfo>(&limited.encode_to_vec()), None);

    let entry = [around(1, b"cpus"), around(2, &[])].concat();
    let encoded = [task().encode_to_vec(), around(15, &entry)].concat();

    assert_eq!(
        missing::<wire::TaskInfo>(&encoded).as_deref(),
        Some("limits[0].value.value")
    );
}

#[test]
fn unknown_fields_are_skipped_and_unknown_calls_keep_their_number() {
    let mut encoded = Vec::new();
    prost::encoding::int32::encode(2, &77, &mut encoded); // A type that nobody knows …
    encoded.extend(around(2_000, b"with a part that nobody knows"));

    let call: Call = decode(encoded).expect("readable");

    assert_eq!(call.r#type, Some(77));
    assert_eq!(call::Type::try_from(77).ok(), None);
}

#[test]
fn an_unknown_message_of_an_agent_is_none() {
    let message: AgentMessage = decode(around(900, b"news")).expect("readable");

    assert_eq!(message.message, None);
}

#[test]
fn containers_in_containers_have_an_end() {
    let mut id = wire::ContainerId {
        value: "c".to_owned(),
        parent: None,
    };
    for _ in 0..200 {
        id = wire::ContainerId {
            value: "c".to_owned(),
            parent: Some(Box::new(id)),
        };
    }

    let error = decode::<wire::ContainerId>(id.encode_to_vec()).expect_err("too deep");

    assert!(matches!(error, DecodeError::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn a_stream_ends_with_the_name_of_the_missing_field() {
    let mut framed = BytesMut::new();
    for encoded in [launch(vec![task()]).encode_to_vec(), around(6, &[])] {
        framed.put_u8(0);
        framed.put_u32(u32::try_from(encoded.len()).expect("short"));
        framed.put_slice(&encoded);
    }
    let decoder = StrictCodec::<Call, Call>::default().decoder();
    let mut stream = Streaming::new_request(decoder, Full::new(Bytes::from(framed)), None, None);

    let first = stream.message().await.expect("complete");
    let status = stream.message().await.expect_err("incomplete");

    assert_eq!(first, Some(launch(vec![task()])));
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert_eq!(
        status.message(),
        "bad mesos.v1.scheduler.Call: kill.task_id is missing"
    );
}

proptest! {
    #[test]
    fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode::<Call>(bytes.clone());
        let _ = decode::<AgentMessage>(bytes);
    }

    #[test]
    fn a_damaged_message_is_refused_or_read_but_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut encoded = launch(vec![task()]).encode_to_vec();
        let at = at.index(encoded.len());
        encoded[at] = byte;

        let _ = decode::<Call>(encoded);
    }

    #[test]
    fn a_cut_message_is_never_more_complete_than_the_whole(at in any::<prop::sample::Index>()) {
        let whole = task().encode_to_vec();
        let cut = whole[..at.index(whole.len())].to_vec();

        if let Ok(read) = decode::<wire::TaskInfo>(cut) {
            prop_assert_eq!(read.task_id, task().task_id);
            prop_assert_eq!(read.agent_id, task().agent_id);
        }
    }
}
