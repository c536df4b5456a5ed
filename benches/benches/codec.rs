//! What it costs to put an offer on the wire and to take it off again: in protobuf as gRPC carries it, with the check of
//! required fields, and in JSON as Mesos' HTTP API has it. The time is CPU time of the thread.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mete_benches::cpu::ThreadCpu;
use mete_benches::dice::Dice;
use mete_proto::mesos::v1::Offer;
use mete_proto::{json, strict};
use prost::Message as _;

/// So many different offers, one after the other: no branch is taken alike a thousand times.
const OFFERS: u64 = 100;

/// An offer as a framework gets it: four resources, one of them reserved and one of them ports in three ranges, three
/// attributes, a URL, and a time at which the agent will be away.
fn offer(number: u64, dice: &mut Dice) -> Offer {
    let master = "9a5b2c3d-1111-2222-3333-444455556666";
    let (cpus, mem, disk) = (dice.below(640), dice.below(256_000), dice.below(1_000_000));
    let (agent, from) = (dice.below(10_000), dice.below(1_000));
    let text = format!(
        r#"{{"id":{{"value":"{master}-O{number}"}},"framework_id":{{"value":"{master}-0001"}},
        "agent_id":{{"value":"{master}-S{agent}"}},"hostname":"agent-{agent}.rack3.example.com",
        "url":{{"scheme":"http","address":{{"hostname":"agent-{agent}.rack3.example.com","ip":"10.3.0.17","port":5051}},
        "path":"/slave(1)"}},"resources":[
        {{"name":"cpus","type":"SCALAR","scalar":{{"value":{cpus}e-1}},"allocation_info":{{"role":"web"}}}},
        {{"name":"mem","type":"SCALAR","scalar":{{"value":{mem}}},"allocation_info":{{"role":"web"}}}},
        {{"name":"disk","type":"SCALAR","scalar":{{"value":{disk}}},"allocation_info":{{"role":"web"}},
        "reservations":[{{"type":"DYNAMIC","role":"web","principal":"jobs",
        "labels":{{"labels":[{{"key":"k","value":"v"}}]}}}}]}},
        {{"name":"ports","type":"RANGES","ranges":{{"range":[{{"begin":{from},"end":2180}},{{"begin":2182,"end":3887}},
        {{"begin":8082,"end":32000}}]}},"allocation_info":{{"role":"web"}}}}],
        "attributes":[{{"name":"rack","type":"TEXT","text":{{"value":"r{from}"}}}},
        {{"name":"zone","type":"TEXT","text":{{"value":"us-east-1a"}}}},
        {{"name":"ssd","type":"TEXT","text":{{"value":"true"}}}}],"allocation_info":{{"role":"web"}},
        "unavailability":{{"start":{{"nanoseconds":1470849373150643200}},"duration":{{"nanoseconds":3600000000000}}}}}}"#
    );
    json::from_slice(text.as_bytes()).expect("an offer")
}

fn offers(c: &mut Criterion<ThreadCpu>) {
    let mut dice = Dice::new(8);
    let offers: Vec<Offer> = (0..OFFERS).map(|number| offer(number, &mut dice)).collect();
    let encoded: Vec<Bytes> = offers
        .iter()
        .map(|offer| offer.encode_to_vec().into())
        .collect();
    let texts: Vec<Vec<u8>> = offers.iter().map(json::to_vec).collect();
    let mut group = c.benchmark_group("offer");
    group.throughput(Throughput::Elements(OFFERS));
    group.bench_function("protobuf/encode", |b| {
        b.iter(|| {
            offers
                .iter()
                .for_each(|offer| drop(black_box(offer.encode_to_vec())))
        });
    });
    group.bench_function("protobuf/decode", |b| {
        b.iter(|| {
            for bytes in &encoded {
                drop(black_box(strict::decode::<Offer>(bytes.clone())));
            }
        });
    });
    group.bench_function("json/encode", |b| {
        b.iter(|| {
            offers
                .iter()
                .for_each(|offer| drop(black_box(json::to_vec(offer))))
        });
    });
    group.bench_function("json/decode", |b| {
        b.iter(|| {
            for text in &texts {
                drop(black_box(json::from_slice::<Offer>(text)));
            }
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ThreadCpu);
    targets = offers,
}
criterion_main!(benches);
