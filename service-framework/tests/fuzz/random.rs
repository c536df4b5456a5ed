//! The run: requests at random, until the time is over.

use std::collections::BTreeMap;
use std::time::Duration;

use mete_daemon::clock;
use mete_framework_sdk::testkit::{Agent, Master};
use mete_framework_sdk::{Ranges, Resources};
use reqwest::{Method, StatusCode};

use crate::dice::Dice;
use crate::endpoints::{self, Body, Endpoint, IDS};
use crate::harness::Service;
use crate::{answer, bend};

/// How long it plays in `make test`; `METE_FUZZ_SECONDS` says another time.
const SECONDS: u64 = 20;
/// After so many requests all apps go, so that neither plans nor the answers grow with the run.
const ROUND: usize = 400;
/// After so many rounds the service framework starts anew on what it has stored.
const ROUNDS_OF_A_LIFE: usize = 3;
/// What the run reads now and then: every list.
const LISTS: [&str; 10] = [
    "/v2/apps?embed=apps.tasks&embed=apps.taskStats",
    "/v2/pods",
    "/v2/pods::status",
    "/v2/groups",
    "/v2/groups/versions",
    "/v2/tasks",
    "/v2/deployments",
    "/v2/queue?embed=lastUnusedOffers",
    "/v2/backends",
    "/v2/info",
];

/// What may stand in a query.
const SWITCHES: [&str; 6] = [
    "force=true",
    "force=True",
    "force=TRUE",
    "scale=true",
    "partialUpdate=false",
    "force=x",
];

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_thrown_at_it_it_answers_and_can_read_what_it_took() {
    let seconds = number("METE_FUZZ_SECONDS").unwrap_or(SECONDS);
    let seed = number("METE_FUZZ_SEED").unwrap_or_else(|| clock::now().as_millis());
    println!("METE_FUZZ_SEED={seed} METE_FUZZ_SECONDS={seconds}");
    let master = Master::start().await.expect("a port");
    let ports = Ranges::interval(31_000, 31_019);
    let mut resources = Resources::cpus_mem(500, 256).with_ports(ports);
    resources.disk_milli = 1_024_000;
    master.add_agent(Agent::from(resources).on_host("127.0.0.2"));
    let directory = tempfile::tempdir().expect("a directory");
    let mut service = Service::start(&master, directory.path(), &[]).await;
    let (table, mut dice) = (endpoints::all(), Dice::new(seed));
    let end = clock::now() + Duration::from_secs(seconds);
    let (mut asked, mut told) = (0_usize, BTreeMap::new());

    while clock::now() < end {
        let endpoint = dice.pick(&table);
        let status = request(&service, endpoint, &mut dice, (seed, asked)).await;
        *told.entry(status.as_u16()).or_insert(0) += 1;
        asked += 1;
        if asked.is_multiple_of(ROUND) {
            read_all(&service, (seed, asked)).await;
            let all = service.request(Method::DELETE, "/v2/groups?force=true");
            let gone = answer::of(all).await;
            assert_eq!(gone.map(|(status, _)| status), Ok(StatusCode::OK));
        }
        if asked.is_multiple_of(ROUND * ROUNDS_OF_A_LIFE) {
            service.stop().await;
            service = Service::start(&master, directory.path(), &[]).await;
        }
    }

    read_all(&service, (seed, asked)).await;
    service.stop().await;
    let again = Service::start(&master, directory.path(), &[]).await;
    read_all(&again, (seed, asked)).await;
    println!("{asked} requests: {told:?}");
    // That much was stored, and that much refused, shows that both was tried.
    assert!(told.contains_key(&200) && told.contains_key(&201) && told.contains_key(&422));
}

/// The status of the answer; panics when it is not as it must be.
async fn request(
    service: &Service,
    endpoint: &Endpoint,
    dice: &mut Dice,
    at: (u64, usize),
) -> StatusCode {
    let id = if dice.once_in(5) {
        bend::text(dice)
    } else {
        (*dice.pick(&IDS)).to_owned()
    };
    let in_path = id.trim_start_matches('/').replace('%', "%25");
    let in_path = in_path.replace('?', "%3F").replace('#', "%23");
    let mut path = endpoint.path.replace("{id}", &format!("/{in_path}"));
    if dice.once_in(50) {
        path.push_str("/%FF"); // no UTF-8
    }
    if !dice.once_in(4) {
        path.push(if path.contains('?') { '&' } else { '?' });
        path.push_str(dice.pick::<&str>(&SWITCHES));
    }
    let request = service.request(endpoint.method.clone(), &path);
    let (request, body) = if endpoint.body == Body::None {
        (request, Vec::new())
    } else {
        let body = bend::body(endpoint.body.good(&id), dice);
        let request = request.header("Content-Type", "application/json");
        (request.body(body.clone()), body)
    };
    match answer::of(request).await {
        Ok((status, _)) => status,
        Err(wrong) => {
            let (seed, asked) = at;
            let body = String::from_utf8_lossy(&body);
            panic!(
                "METE_FUZZ_SEED={seed}, request {asked}: {} {path}\n{body:.4000}\n{wrong}",
                endpoint.method
            )
        }
    }
}

async fn read_all(service: &Service, (seed, asked): (u64, usize)) {
    for path in LISTS {
        let told = answer::of(service.request(Method::GET, path)).await;
        assert_eq!(
            told.map(|(status, _)| status),
            Ok(StatusCode::OK),
            "METE_FUZZ_SEED={seed}, after {asked} requests: {path}"
        );
    }
}
