//! Registries that are slow, that break, that lie, that ask for a login, that send too much.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use mete_agent::images::{Image, ImageError, Pull};
use serde_json::json;
use tokio::sync::watch;

use crate::sample::{Sample, gzip, layer, noise, sha256};
use crate::servers::{Fake, Host, broken, container, hanging, until};

fn sample() -> Sample {
    Sample::of(&[layer(&[("a", &noise(200_000, 1))])])
}

/// A short time in which nothing comes is long enough here.
const STALL: Duration = Duration::from_millis(300);

/// Pulls `app:1` from a registry with that trick.
async fn pull(
    sample: &Sample,
    trick: impl Fn(&str, &HeaderMap, usize) -> Option<Response> + Send + Sync + 'static,
) -> (Result<Image, ImageError>, Fake, Host) {
    let fake = Fake::start(&[("app:1", sample)], trick).await;
    let host = Host::with(&[&fake.address], |options| options.stall = STALL);
    let reference = fake.reference("app:1");
    let pulled = host
        .images
        .provide(&reference, Pull::IfMissing, &container("c"), |_| {})
        .await;
    assert_eq!(host.unfinished(), 0, "nothing is left behind");
    if pulled.is_err() {
        assert!(host.images.list().await.is_empty());
        assert_eq!(host.layers(), 0);
    }
    (pulled, fake, host)
}

#[tokio::test]
async fn a_registry_that_falls_silent_is_given_up() {
    let sample = sample();
    let blob = sample.layers[0].clone();
    let content = sample.blobs[&blob].clone();
    let (ended, _) = watch::channel(false);

    let (pulled, fake, _) = pull(&sample, move |path, _, _| {
        path.ends_with(&blob)
            .then(|| hanging(&content[..5000], content.len(), ended.clone()))
    })
    .await;

    let error = pulled.unwrap_err();
    assert!(matches!(error, ImageError::Timeout { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("layer 1 of 1 stopped after 5000 bytes"),
        "{error}"
    );
    assert_eq!(fake.count(&sample.layers[0]), 3, "it was tried a few times");
}

#[tokio::test]
async fn a_registry_that_hangs_holds_up_no_other() {
    let sample = sample();
    let blob = sample.layers[0].clone();
    let content = sample.blobs[&blob].clone();
    let (ended, _) = watch::channel(false);
    let names: Vec<String> = (0..8).map(|number| format!("app:{number}")).collect();
    let images: Vec<_> = names.iter().map(|name| (&**name, &sample)).collect();
    let stuck = Fake::start(&images, move |path, _, _| {
        path.ends_with(&blob)
            .then(|| hanging(&content[..5000], content.len(), ended.clone()))
    })
    .await;
    let other = Sample::of(&[layer(&[("b", b"2")])]);
    let healthy = Fake::start(&[("app:1", &other)], |_, _, _| None).await;
    // Longer than the test may take: whoever waits for the first registry waits for ever.
    let host = Host::with(&[&stuck.address, &healthy.address], |options| {
        options.stall = Duration::from_secs(3_600);
    });
    let provide = async |reference: String, who: String| {
        host.images
            .provide(&reference, Pull::IfMissing, &container(&who), |_| {})
            .await
    };
    let waiting = names
        .iter()
        .map(|name| provide(stuck.reference(name), name.replace(':', "-")));

    tokio::select! {
        _ = futures::future::join_all(waiting) => panic!("the first registry hangs"),
        pulled = async {
            let asked = || stuck.count(&sample.layers[0]) > 0;
            until("the first registry is asked", asked).await;
            provide(healthy.reference("app:1"), "c".to_owned()).await
        } => assert_eq!(pulled.unwrap().digest, other.digest()),
    }
}

#[tokio::test]
async fn a_registry_that_drips_is_as_good_as_silent() {
    use axum::body::{Body, Bytes};
    use futures::StreamExt as _;
    let sample = sample();
    let blob = sample.layers[0].clone();

    let (pulled, ..) = pull(&sample, move |path, _, _| {
        path.ends_with(&blob).then(|| {
            // A byte each few milliseconds, for ever: never silent for long.
            let drops = futures::stream::repeat(Bytes::from_static(b"x")).then(|drop| async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok::<_, std::io::Error>(drop)
            });
            Body::from_stream(drops).into_response()
        })
    })
    .await;

    let error = pulled.unwrap_err();
    assert!(matches!(error, ImageError::Timeout { .. }), "{error}");
}

#[tokio::test]
async fn a_registry_that_dies_half_way_is_asked_again() {
    let sample = sample();
    let blob = sample.layers[0].clone();
    let content = sample.blobs[&blob].clone();

    let (pulled, fake, _) = pull(&sample, move |path, _, before| {
        let dies = path.ends_with(&blob) && before < 2;
        dies.then(|| broken(&content[..70_000], content.len()))
    })
    .await;

    assert_eq!(pulled.unwrap().digest, sample.digest());
    assert_eq!(fake.count(&sample.layers[0]), 3);
}

#[tokio::test]
async fn a_registry_that_dies_each_time_is_given_up() {
    let sample = sample();
    let blob = sample.layers[0].clone();
    let content = sample.blobs[&blob].clone();

    let (pulled, fake, _) = pull(&sample, move |path, _, _| {
        path.ends_with(&blob)
            .then(|| broken(&content[..70_000], content.len()))
    })
    .await;

    let error = pulled.unwrap_err();
    assert!(matches!(error, ImageError::Unreachable { .. }), "{error}");
    assert_eq!(fake.count(&sample.layers[0]), 3);
}

#[tokio::test]
async fn a_registry_in_trouble_is_asked_again_but_not_for_ever() {
    let sample = sample();
    for status in [
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::BAD_GATEWAY,
        StatusCode::TOO_MANY_REQUESTS,
    ] {
        let passing = move |path: &str, _: &HeaderMap, before| {
            let is_first = path.ends_with("manifests/1") && before == 0;
            is_first.then(|| (status, [(header::RETRY_AFTER, "0")]).into_response())
        };
        let (pulled, ..) = pull(&sample, passing).await;
        assert_eq!(pulled.unwrap().digest, sample.digest());
    }

    let (pulled, fake, _) = pull(&sample, |_, _, _| {
        let body = json!({ "errors": [{ "code": "UNKNOWN", "message": "no disk" }] });
        Some((StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)).into_response())
    })
    .await;

    let error = pulled.unwrap_err().to_string();
    assert!(error.contains("answered 503: UNKNOWN no disk"), "{error}");
    assert_eq!(fake.count("manifests/1"), 3);
}

#[tokio::test]
async fn a_registry_that_says_no_is_not_asked_again() {
    let sample = sample();
    for (status, wanted) in [
        (StatusCode::NOT_FOUND, "has no such image"),
        (StatusCode::FORBIDDEN, "denies access: DENIED not for you"),
        (StatusCode::UNAUTHORIZED, "wants a login"),
        (StatusCode::IM_A_TEAPOT, "answered 418"),
    ] {
        let (pulled, fake, _) = pull(&sample, move |_, _, _| {
            let body = json!({ "errors": [{ "code": "DENIED", "message": "not for\nyou" }] });
            Some((status, axum::Json(body)).into_response())
        })
        .await;
        let error = pulled.unwrap_err().to_string();
        assert!(
            error.contains(wanted) && error.contains("/app:1"),
            "{error}"
        );
        assert_eq!(fake.count("manifests/1"), 1);
    }
}

#[tokio::test]
async fn a_lie_about_a_digest_is_found_out() {
    let sample = sample();
    let blob = sample.layers[0].clone();
    let mut other = sample.blobs[&blob].clone();
    *other.last_mut().unwrap() ^= 1;
    let got = sha256(&other);

    let (pulled, fake, _) = pull(&sample, move |path, _, _| {
        path.ends_with(&blob).then(|| other.clone().into_response())
    })
    .await;

    let error = pulled.unwrap_err();
    let ImageError::DigestMismatch {
        wanted,
        got: said,
        what,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(
        (wanted, said, what.as_str()),
        (&sample.layers[0], &got, "layer 1 of 1")
    );
    assert_eq!(
        fake.count(&sample.layers[0]),
        1,
        "a lie is not asked for again"
    );
}

#[tokio::test]
async fn a_lie_about_a_manifest_or_an_unpacked_layer_is_found_out() {
    let sample = sample();
    let body = sample.manifest.clone();
    let header_lies = move |path: &str, _: &HeaderMap, _| {
        let lie = [("docker-content-digest", sha256(b"other"))];
        path.ends_with("manifests/1")
            .then(|| (lie, body.clone()).into_response())
    };
    let (pulled, ..) = pull(&sample, header_lies).await;
    let error = pulled.unwrap_err();
    assert!(
        matches!(&error, ImageError::DigestMismatch { what, .. } if what == "the manifest"),
        "{error}"
    );

    // The packed layer is what the manifest says, but not what the configuration says it unpacks to.
    let (one, two) = (layer(&[("a", b"1")]), layer(&[("a", b"2")]));
    let mut mixed = Sample::of(std::slice::from_ref(&one));
    let packed = gzip(&two);
    let text = String::from_utf8(mixed.manifest.clone()).unwrap();
    let text = text.replace(&mixed.layers[0], &sha256(&packed)).replace(
        &format!("\"size\":{}", gzip(&one).len()),
        &format!("\"size\":{}", packed.len()),
    );
    mixed.manifest = text.into_bytes();
    mixed.blobs.insert(sha256(&packed), packed);
    let (pulled, ..) = pull(&mixed, |_, _, _| None).await;
    let error = pulled.unwrap_err();
    assert!(
        matches!(&error, ImageError::DigestMismatch { wanted, .. } if *wanted == sha256(&one)),
        "{error}"
    );
}

#[tokio::test]
async fn more_than_was_announced_is_refused() {
    let sample = sample();
    let blob = sample.layers[0].clone();
    let mut more = sample.blobs[&blob].clone();
    more.extend_from_slice(b"more");
    let (pulled, ..) = pull(&sample, move |path, _, _| {
        path.ends_with(&blob).then(|| more.clone().into_response())
    })
    .await;
    let error = pulled.unwrap_err();
    assert!(matches!(error, ImageError::TooLarge { .. }), "{error}");

    let (pulled, ..) = pull(&sample, |path, _, _| {
        path.ends_with("manifests/1")
            .then(|| " ".repeat(5 << 20).into_response())
    })
    .await;
    let error = pulled.unwrap_err().to_string();
    assert!(
        error.contains("the manifest has more than 4194304 bytes"),
        "{error}"
    );

    let (pulled, ..) = pull(&sample, |_, _, _| {
        Some((StatusCode::NOT_FOUND, "x".repeat(5 << 20)).into_response())
    })
    .await;
    let error = pulled.unwrap_err();
    assert!(error.to_string().len() < 1000, "what is told is bounded");
}

#[tokio::test]
async fn a_bomb_and_a_way_out_are_refused_with_the_name_of_the_image() {
    let bomb = Sample::of(&[layer(&[("zeros", &vec![0; 32 << 20])])]);
    let fake = Fake::start(&[("app:1", &bomb)], |_, _, _| None).await;
    let host = Host::with(&[&fake.address], |options| {
        options.max_layer_bytes = 1 << 20
    });
    let reference = fake.reference("app:1");
    let pulled = host
        .images
        .provide(&reference, Pull::IfMissing, &container("c"), |_| {})
        .await;
    let error = pulled.unwrap_err().to_string();
    assert!(
        error.contains(&reference) && error.contains("layer 1 of 1 has more than 1048576 bytes"),
        "{error}"
    );
    assert_eq!((host.unfinished(), host.layers()), (0, 0));

    let many: Vec<_> = (0..8)
        .map(|seed| layer(&[("part", &noise(1 << 20, seed))]))
        .collect();
    let large = Sample::of(&many);
    let fake = Fake::start(&[("app:1", &large)], |_, _, _| None).await;
    let host = Host::with(&[&fake.address], |options| {
        options.max_image_bytes = 4 << 20
    });
    let pulled = host
        .images
        .provide(
            &fake.reference("app:1"),
            Pull::IfMissing,
            &container("c"),
            |_| {},
        )
        .await;
    let error = pulled.unwrap_err();
    assert!(matches!(error, ImageError::TooLarge { .. }), "{error}");

    let way_out = Sample::of(&[layer(&[("../../escaped", b"x")])]);
    let (pulled, _, host) = pull(&way_out, |_, _, _| None).await;
    let error = pulled.unwrap_err();
    let ImageError::BadLayer { entry, image, .. } = &error else {
        panic!("{error}")
    };
    assert!(
        entry == "../../escaped" && image.ends_with("/app:1"),
        "{error}"
    );
    assert!(!host.directory.path().join("escaped").exists());
}

/// A registry that wants tokens, and gives them to whoever may have one.
fn wants_tokens(
    realm: String,
    login: Option<&'static str>,
) -> impl Fn(&str, &HeaderMap, usize) -> Option<Response> {
    move |path, headers, _| {
        let shown = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        if path == "/token" {
            return Some(match shown == login {
                true => axum::Json(json!({ "token": "t0ken", "expires_in": 60 })).into_response(),
                false => StatusCode::UNAUTHORIZED.into_response(),
            });
        }
        if shown == Some("Bearer t0ken") {
            return None;
        }
        let challenge =
            format!("Bearer realm=\"{realm}\",service=\"here\",scope=\"repository:app:pull\"");
        Some(
            (
                StatusCode::UNAUTHORIZED,
                [(header::WWW_AUTHENTICATE, challenge)],
            )
                .into_response(),
        )
    }
}

#[tokio::test]
async fn a_token_is_fetched_with_or_without_a_login() {
    let sample = sample();
    // mete:open sesame
    for login in [None, Some("Basic bWV0ZTpvcGVuIHNlc2FtZQ==")] {
        let fake = Fake::start_knowing(&[("app:1", &sample)], |address| {
            wants_tokens(format!("http://{address}/token"), login)
        })
        .await;
        let address = fake.address.clone();
        let file = tempfile::NamedTempFile::new().unwrap();
        let auths = match login {
            Some(_) => {
                json!({ "auths": { address.clone(): { "auth": "bWV0ZTpvcGVuIHNlc2FtZQ==" } } })
            }
            None => json!({}),
        };
        std::fs::write(file.path(), auths.to_string()).unwrap();
        let host = Host::with(&[&address], |options| {
            options.credentials = Some(file.path().to_owned())
        });

        let pulled = host
            .images
            .provide(
                &fake.reference("app:1"),
                Pull::IfMissing,
                &container("c"),
                |_| {},
            )
            .await;

        assert_eq!(pulled.unwrap().digest, sample.digest());
        assert_eq!(fake.count("/token"), 1, "one token serves the whole pull");
        assert_eq!(fake.count("manifests/1"), 2);
    }
}

/// A file with a login for the registry.
fn login_for(address: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let entry = json!({ "auth": "bWV0ZTpvcGVuIHNlc2FtZQ==" });
    let auths = json!({ "auths": { address: entry } });
    std::fs::write(file.path(), auths.to_string()).unwrap();
    file
}

#[tokio::test]
async fn a_login_goes_to_no_token_server_without_tls() {
    let sample = sample();
    let thief = Fake::start(&[], |_, _, _| {
        Some(axum::Json(json!({ "token": "t0ken" })).into_response())
    })
    .await;
    let realm = format!("http://{}/token", thief.address);
    let fake = Fake::start(&[("app:1", &sample)], wants_tokens(realm, Some("never"))).await;
    let file = login_for(&fake.elsewhere());
    let host = Host::with(&[&fake.elsewhere()], |options| {
        options.credentials = Some(file.path().to_owned());
    });

    let reference = format!("{}/app:1", fake.elsewhere());
    let pulled = host
        .images
        .provide(&reference, Pull::IfMissing, &container("c"), |_| {})
        .await;

    let error = pulled.unwrap_err();
    assert!(matches!(error, ImageError::Astray { .. }), "{error}");
    assert_eq!(thief.count("/token"), 0);
}

#[tokio::test]
async fn a_storage_elsewhere_gets_the_request_but_not_the_login() {
    let sample = sample();
    let blob = sample.layers[0].clone();
    let storage = Fake::start(&[("app:1", &sample)], |_, headers, _| {
        let has_login = headers.contains_key(header::AUTHORIZATION);
        has_login.then(|| StatusCode::BAD_REQUEST.into_response())
    })
    .await;
    let to = format!("http://{}/v2/app/blobs/{blob}", storage.address);
    let fake = Fake::start(&[("app:1", &sample)], move |path, headers, _| {
        if !headers.contains_key(header::AUTHORIZATION) {
            let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"x\"")];
            return Some((StatusCode::UNAUTHORIZED, challenge).into_response());
        }
        let location = [(header::LOCATION, to.clone())];
        path.ends_with(&blob)
            .then(|| (StatusCode::TEMPORARY_REDIRECT, location).into_response())
    })
    .await;
    let file = login_for(&fake.elsewhere());
    let pull = async |allowed: &[&str]| {
        let host = Host::with(allowed, |options| {
            options.credentials = Some(file.path().to_owned());
        });
        let reference = format!("{}/app:1", fake.elsewhere());
        host.images
            .provide(&reference, Pull::IfMissing, &container("c"), |_| {})
            .await
    };

    let allowed = pull(&[&fake.elsewhere(), &storage.address]).await;
    assert_eq!(allowed.unwrap().digest, sample.digest());
    assert_eq!(storage.count(&sample.layers[0]), 1);
    // Where the storage is not allowed to do without TLS, it is not asked.
    let error = pull(&[&fake.elsewhere()]).await.unwrap_err();
    assert!(matches!(error, ImageError::Astray { .. }), "{error}");
    assert_eq!(storage.count(&sample.layers[0]), 1);
}

#[tokio::test]
async fn plain_http_is_spoken_only_where_it_is_allowed() {
    let sample = sample();
    let fake = Fake::start(&[("app:1", &sample)], |_, _, _| None).await;
    let host = Host::new(&["127.0.0.1:1"]);

    let pulled = host
        .images
        .provide(
            &format!("{}/app:1", fake.elsewhere()),
            Pull::IfMissing,
            &container("c"),
            |_| {},
        )
        .await;

    let error = pulled.unwrap_err();
    assert!(matches!(error, ImageError::Unreachable { .. }), "{error}");
    assert_eq!(fake.count(""), 0, "not one request was sent");
}

#[tokio::test]
async fn a_login_that_a_helper_keeps_is_told_by_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let sample = sample();
    let fake = Fake::start(&[("app:1", &sample)], |_, _, _| {
        Some(
            (
                StatusCode::UNAUTHORIZED,
                [(header::WWW_AUTHENTICATE, "Basic realm=\"x\"")],
            )
                .into_response(),
        )
    })
    .await;
    let helpers = json!({ "credHelpers": { fake.address.clone(): "ecr-login" } });
    std::fs::write(file.path(), helpers.to_string()).unwrap();
    let host = Host::with(&[&fake.address], |options| {
        options.credentials = Some(file.path().to_owned())
    });

    let pulled = host
        .images
        .provide(
            &fake.reference("app:1"),
            Pull::IfMissing,
            &container("c"),
            |_| {},
        )
        .await;

    let error = pulled.unwrap_err().to_string();
    assert!(error.contains("kept by the helper ecr-login"), "{error}");
}
