//! A real server on a free port, gRPC and HTTP.

use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::routing::{get, post};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt;
use mete_daemon::auth::{Credentials, Token, TokenError};
use mete_daemon::http_client;
use mete_daemon::metrics;
use mete_daemon::server::{self, BindError, HTTP_BODY_LIMIT_BYTES, SHUTDOWN_GRACE};
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_response::MessageResponse,
};

const SECRET: &str = "correct-horse-battery-staple";

struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
}

impl Running {
    async fn start(token: Option<Token>) -> Self {
        let endless = || {
            Body::from_stream(
                futures::stream::once(async { Ok::<_, Infallible>(Bytes::from("first")) })
                    .chain(futures::stream::pending()),
            )
        };
        let http = Router::new()
            .merge(metrics::routes(Registry::default().into()))
            .route(
                "/apps",
                post(|body: Bytes| async move { body.len().to_string() }),
            )
            .route(
                "/panic",
                get(|| async {
                    if true {
                        panic!("on purpose")
                    }
                }),
            )
            .route("/endless", get(move || async move { endless() }));
        let routes = server::with_health_and_reflection(
            server::http(http),
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            &["mete.v1.Agent"],
        )
        .await
        .unwrap();
        let listener = server::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(server::serve(listener, routes, token, shutdown.clone()));
        Self {
            address,
            shutdown,
            server,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn channel(&self) -> Channel {
        Endpoint::from_shared(self.url(""))
            .unwrap()
            .connect()
            .await
            .unwrap()
    }
}

fn token() -> Token {
    Token::new(SECRET).unwrap()
}

async fn get_with(url: String, credentials: &Credentials) -> reqwest::Response {
    http_client::plain()
        .build()
        .unwrap()
        .get(url)
        .headers(credentials.headers())
        .send()
        .await
        .unwrap()
}

async fn message(response: reqwest::Response) -> String {
    let body: serde_json::Value = response.json().await.unwrap();
    body["message"].as_str().unwrap().to_owned()
}

async fn reflect(channel: Channel, credentials: Credentials) -> Result<Vec<String>, tonic::Status> {
    let mut client = ServerReflectionClient::with_interceptor(channel, credentials);
    let list = MessageRequest::ListServices(String::new());
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(list),
    };
    let mut answers = client
        .server_reflection_info(futures::stream::iter([request]))
        .await?
        .into_inner();
    let answer = answers
        .message()
        .await?
        .and_then(|answer| answer.message_response);
    let Some(MessageResponse::ListServicesResponse(services)) = answer else {
        panic!("{answer:?}")
    };
    Ok(services
        .service
        .into_iter()
        .map(|service| service.name)
        .collect())
}

#[tokio::test]
async fn http_without_the_token_is_unauthorized_except_for_health() {
    let running = Running::start(Some(token())).await;
    let (nobody, wrong) = (
        Credentials::default(),
        Credentials::new(Some(&Token::new("another-token-of-length").unwrap())),
    );

    let refused = get_with(running.url("/metrics"), &nobody).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refused.headers()["www-authenticate"], "Bearer");
    assert_eq!(message(refused).await, "credentials are required");
    assert_eq!(
        message(get_with(running.url("/metrics"), &wrong).await).await,
        "the credentials are wrong"
    );

    assert_eq!(
        get_with(running.url("/health"), &nobody).await.status(),
        StatusCode::OK
    );
    let metrics = get_with(running.url("/metrics"), &Credentials::new(Some(&token()))).await;
    assert_eq!(metrics.status(), StatusCode::OK);
    assert!(
        metrics.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    assert!(metrics.text().await.unwrap().ends_with("# EOF\n"));
}

#[tokio::test]
async fn grpc_without_the_token_is_unauthenticated_except_for_health() {
    let running = Running::start(Some(token())).await;
    let channel = running.channel().await;

    let health = HealthClient::new(channel.clone())
        .check(HealthCheckRequest {
            service: "mete.v1.Agent".into(),
        })
        .await;
    assert_eq!(health.unwrap().into_inner().status, 1);
    let refused = reflect(channel.clone(), Credentials::default())
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::Unauthenticated, "credentials are required")
    );
    let services = reflect(channel, Credentials::new(Some(&token())))
        .await
        .unwrap();
    assert!(
        services.contains(&"grpc.health.v1.Health".to_owned()),
        "{services:?}"
    );
}

#[tokio::test]
async fn without_a_token_to_ask_for_everybody_may() {
    let running = Running::start(None).await;

    assert!(
        reflect(running.channel().await, Credentials::default())
            .await
            .is_ok()
    );
    assert_eq!(
        get_with(running.url("/metrics"), &Credentials::default())
            .await
            .status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn errors_have_one_shape() {
    let running = Running::start(None).await;
    let nobody = Credentials::default();

    let unknown = get_with(running.url("/nothing"), &nobody).await;
    assert_eq!(
        (unknown.status(), message(unknown).await),
        (StatusCode::NOT_FOUND, "nothing at /nothing".to_owned())
    );
    let method = get_with(running.url("/apps"), &nobody).await;
    assert_eq!(
        (method.status(), message(method).await),
        (
            StatusCode::METHOD_NOT_ALLOWED,
            "method not allowed".to_owned()
        )
    );
    let panicked = get_with(running.url("/panic"), &nobody).await;
    assert_eq!(
        (panicked.status(), message(panicked).await),
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal error".to_owned()
        )
    );
    let mut unknown_service = tonic::client::Grpc::new(running.channel().await);
    unknown_service.ready().await.unwrap();
    let path = "/mete.v1.Nothing/Call".parse().unwrap();
    let codec = tonic_health_codec();
    let status = unknown_service
        .unary(
            tonic::Request::new(HealthCheckRequest::default()),
            path,
            codec,
        )
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

fn tonic_health_codec() -> tonic_prost::ProstCodec<HealthCheckRequest, HealthCheckRequest> {
    tonic_prost::ProstCodec::default()
}

#[tokio::test]
async fn a_body_has_an_end() {
    let running = Running::start(None).await;
    let send = |body: Vec<u8>| {
        http_client::plain()
            .build()
            .unwrap()
            .post(running.url("/apps"))
            .body(body)
            .send()
    };

    let large = send(vec![b'x'; HTTP_BODY_LIMIT_BYTES]).await.unwrap();
    assert_eq!(
        large.text().await.unwrap(),
        HTTP_BODY_LIMIT_BYTES.to_string()
    );
    // The server may answer and close before it has read all: then the client sees a broken pipe instead.
    if let Ok(too_large) = send(vec![b'x'; HTTP_BODY_LIMIT_BYTES + 1]).await {
        assert_eq!(too_large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
}

#[tokio::test]
async fn a_packed_body_is_inflated_and_has_the_same_end() {
    let running = Running::start(None).await;
    let send = async |length: usize| {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&vec![b'x'; length]).unwrap();
        let client = http_client::plain().build().unwrap();
        let post = client.post(running.url("/apps"));
        let post = post.header("content-encoding", "gzip");
        let sent = post.body(packed.finish().unwrap()).send().await;
        let answer = sent.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };

    let small = send(100_000).await;
    let (status, _) = send(HTTP_BODY_LIMIT_BYTES + 1).await;

    assert_eq!(small, (StatusCode::OK, "100000".to_owned()));
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_thousand_may_knock_before_anybody_opens() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = server::bind(any).await.unwrap();
    let address = listener.local_addr().unwrap();

    // Nobody accepts: beyond its backlog a listener lets connections wait for seconds.
    let connections = (0..1_000).map(|_| TcpStream::connect(address));
    let all = futures::future::try_join_all(connections);
    let all = tokio::time::timeout(Duration::from_secs(20), all).await;

    assert_eq!(all.expect("at once").unwrap().len(), 1_000);
    drop(listener);
}

#[tokio::test]
async fn headers_are_written_as_people_write_them() {
    let running = Running::start(None).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let request = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();

    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();

    assert!(
        answer.contains("\r\nContent-Type: application/json\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn an_error_before_the_body_was_read_says_that_the_connection_ends() {
    let running = Running::start(None).await;
    let ask = async |path: &str, sent: &str| {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n{sent}");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4_096];
        let read = stream.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..read]).to_lowercase()
    };

    let closing = ask("/nowhere", "{").await; // three bytes are to come
    assert!(closing.starts_with("http/1.1 404"), "{closing}");
    assert!(closing.contains("\r\nconnection: close\r\n"), "{closing}");
}

#[tokio::test]
async fn a_busy_port_is_named() {
    let running = Running::start(None).await;

    let refused = server::bind(running.address).await.unwrap_err();

    assert!(matches!(refused, BindError::Busy { .. }));
    assert_eq!(
        refused.to_string(),
        format!(
            "port {} on 127.0.0.1 is in use by another process",
            running.address.port()
        )
    );
}

#[tokio::test]
async fn an_idle_server_ends_at_once() {
    let running = Running::start(None).await;
    assert_eq!(
        get_with(running.url("/health"), &Credentials::default())
            .await
            .status(),
        StatusCode::OK
    );

    running.shutdown.cancel();

    tokio::time::timeout(SHUTDOWN_GRACE / 2, running.server)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn an_endless_answer_is_cut_after_the_grace() {
    let running = Running::start(None).await;
    let mut endless = get_with(running.url("/endless"), &Credentials::default()).await;
    assert_eq!(endless.chunk().await.unwrap().unwrap(), "first");

    running.shutdown.cancel();

    let patience = SHUTDOWN_GRACE + Duration::from_secs(10);
    tokio::time::timeout(patience, running.server)
        .await
        .unwrap()
        .unwrap();
    assert!(endless.chunk().await.is_err());
}

#[test]
fn a_token_comes_from_a_file_without_its_white_space() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");

    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    assert!(Token::read(&path).unwrap().matches(SECRET));
    std::fs::write(&path, "\n").unwrap();
    let Err(TokenError::Bad { source, .. }) = Token::read(&path) else {
        panic!("nothing is no token");
    };
    assert!(matches!(*source, TokenError::Length { characters: 0 }));
    assert!(
        Token::read(&directory.path().join("none"))
            .unwrap_err()
            .to_string()
            .contains("none cannot be read")
    );
}

#[tokio::test]
async fn reflection_names_what_is_served_and_knows_its_older_version() {
    use tonic_reflection::pb::v1alpha;
    use v1alpha::server_reflection_client::ServerReflectionClient;
    use v1alpha::server_reflection_request::MessageRequest;
    use v1alpha::server_reflection_response::MessageResponse;

    let running = Running::start(None).await;

    let mut names = reflect(running.channel().await, Credentials::default())
        .await
        .unwrap();
    names.retain(|name| !name.starts_with("grpc.reflection."));
    names.sort();
    assert_eq!(names, ["grpc.health.v1.Health", "mete.v1.Agent"]);

    let wanted = MessageRequest::FileContainingSymbol("grpc.health.v1.Health".to_owned());
    let asked = v1alpha::ServerReflectionRequest {
        message_request: Some(wanted),
        ..v1alpha::ServerReflectionRequest::default()
    };
    let mut client = ServerReflectionClient::new(running.channel().await);
    let answer = client.server_reflection_info(futures::stream::iter([asked]));
    let answer = answer.await.unwrap().into_inner().message().await.unwrap();
    let answer = answer.unwrap().message_response.unwrap();
    let described = matches!(answer, MessageResponse::FileDescriptorResponse(_));
    assert!(described, "{answer:?}");
}
