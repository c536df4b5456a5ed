//! Callers who take for ever to say what they want are hung up on; those who wait for an answer may wait. In real time: half
//! a minute, all of them at once.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use futures::StreamExt as _;
use mete_daemon::server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Four times as long as anybody is waited for.
const DEADLINE: Duration = Duration::from_secs(120);

/// A peer that says `said` and then nothing.
async fn peer(address: SocketAddr, said: &[u8]) -> TcpStream {
    let mut peer = TcpStream::connect(address).await.unwrap();
    peer.write_all(said).await.unwrap();
    peer
}

/// What a peer hears until it is hung up on.
async fn heard(address: SocketAddr, said: &str) -> String {
    let (mut peer, mut heard) = (peer(address, said.as_bytes()).await, Vec::new());
    let ended = timeout(DEADLINE, peer.read_to_end(&mut heard)).await;
    ended.expect(said).unwrap();
    String::from_utf8(heard).unwrap()
}

#[tokio::test]
async fn who_says_what_it_wants_byte_by_byte_is_hung_up_on() {
    let listener = server::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let endless = || async {
        let first = futures::stream::once(async { Ok::<_, io::Error>(Bytes::from("first")) });
        Body::from_stream(first.chain(futures::stream::pending()))
    };
    let routes = server::http(Router::new().route("/endless", get(endless)));
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(server::serve(listener, routes, None, shutdown.clone()));
    // The shortest request there is: shorter than what HTTP/2 begins with.
    let mut waits = peer(address, b"GET /endless HTTP/1.0\r\n\r\n").await;
    // One that was answered, and has nothing to say for longer than others are waited for.
    let asks = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut quiet = peer(address, asks).await;
    let mut answer = [0; 4_096];
    let read = quiet.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 404"));

    let ended = tokio::join!(
        heard(address, ""),
        heard(address, "PRI * HT"),
        heard(address, "GET /endless HTTP/1.1\r\nHost: x\r\nX-Loris: a"),
    );

    assert_eq!(ended, Default::default(), "nobody is answered");
    let read = waits.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.0 200 OK"));
    while waits.try_read(&mut answer).is_ok_and(|read| read > 0) {}
    let more = waits.try_read(&mut answer).map_err(|error| error.kind());
    assert_eq!(more, Err(io::ErrorKind::WouldBlock), "it waits on");
    quiet.write_all(asks).await.unwrap();
    let read = timeout(DEADLINE, quiet.read(&mut answer)).await;
    let read = read.expect("an answer").unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 404"), "{read} bytes");
    serving.abort();
}
