//! Docker's own examples, and what is printed is read again.

use super::*;

fn check(text: &str, expected: &str) {
    let reference: Reference = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    let tag = reference.tag.as_deref().unwrap_or("-");
    let digest = reference.digest.as_ref().map_or("-", |digest| digest.short());
    let got = format!("{} {} {tag} {digest}", reference.registry, reference.repository);
    assert_eq!(got, expected, "{text}");
}

#[test]
fn references_are_normalised_as_docker_does() {
    let hex = "a".repeat(64);
    check("nginx", "docker.io library/nginx latest -");
    check("nginx:1.27", "docker.io library/nginx 1.27 -");
    check("user/x", "docker.io user/x latest -");
    check("index.docker.io/nginx", "docker.io library/nginx latest -");
    check("localhost/x", "localhost x latest -");
    check("localhost:5000/x:v1", "localhost:5000 x v1 -");
    check("ghcr.io/a/b/c:v1", "ghcr.io a/b/c v1 -");
    check("registry:443/shop/till", "registry:443 shop/till latest -");
    check("[::1]:5000/x", "[::1]:5000 x latest -");
    check("[2001:db8::1]/x:1", "[2001:db8::1] x 1 -");
    check("xn--n3h.com/x", "xn--n3h.com x latest -");
    check("Upper/x", "Upper x latest -");
    check("a__b/c--d.e", "docker.io a__b/c--d.e latest -");
    check(&format!("nginx@sha256:{hex}"), "docker.io library/nginx - aaaaaaaaaaaa");
    check(&format!("h:1/a/b:t@sha256:{hex}"), "h:1 a/b t aaaaaaaaaaaa");
}

#[test]
fn what_docker_refuses_is_refused() {
    let id = "b".repeat(64);
    let wrong = [
        "",
        ":tag",
        "nginx:",
        "nginx:-x",
        "UPPER",
        "a/UPPER",
        "a//b",
        "/a",
        "a/",
        "a._b",
        "a___b",
        "-a/b.c",
        "ho st/x",
        "host:port/x",
        "host:/x",
        "[::1/x",
        "[zz]:1/x",
        "[::1]x/y",
        "nginx@sha256:abc",
        "nginx@md5:d41d8cd98f00b204e9800998ecf8427e",
        &id,
    ];
    for text in wrong {
        assert!(text.parse::<Reference>().is_err(), "{text} was accepted");
    }
    assert!(format!("a:{}", "x".repeat(129)).parse::<Reference>().is_err());
    assert!("a".repeat(256).parse::<Reference>().is_err());
}

#[test]
fn a_reference_prints_as_people_write_it() {
    for text in ["nginx:latest", "user/x:1", "registry:443/a/b:c"] {
        let reference: Reference = text.parse().expect("a reference");
        assert_eq!(reference.to_string(), text);
    }
}

#[test]
fn arm64_with_and_without_variant_is_one_platform() {
    let platform = |architecture: &str, variant: &str| Platform {
        os: "linux".into(),
        architecture: architecture.into(),
        variant: variant.into(),
    };
    assert!(platform("arm64", "").accepts(&platform("arm64", "v8")));
    assert!(platform("arm", "v7").accepts(&platform("arm", "v7")));
    assert!(!platform("arm", "v7").accepts(&platform("arm", "v6")));
    assert!(!platform("arm64", "").accepts(&platform("arm", "v7")));
}

#[test]
fn the_digest_of_bytes_is_their_sha256() {
    let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(Digest::of(b"").as_str(), empty);
}

#[test]
fn a_digest_is_checked_in_its_own_algorithm() {
    let long = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
                47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";
    assert!(long.parse::<Digest>().expect("a digest").matches(b""));
    assert!(!long.parse::<Digest>().expect("a digest").matches(b"x"));
    assert!(Digest::of(b"x").matches(b"x"));
    assert!(!Digest::of(b"x").matches(b"y"));
}

proptest::proptest! {
    #[test]
    fn parsing_never_panics(text in ".{0,300}") {
        let _ = text.parse::<Reference>();
        let _ = text.parse::<Digest>();
    }

    #[test]
    fn what_is_printed_is_read_back(text in "[a-z0-9.:/_@-]{1,60}") {
        if let Ok(reference) = text.parse::<Reference>() {
            let again: Reference = reference.to_string().parse().expect("printed references parse");
            proptest::prop_assert_eq!(reference, again);
        }
    }
}
