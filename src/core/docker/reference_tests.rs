//! Docker's own examples, and printed references are read back.

use super::*;

/// References that Docker accepts: registry, repository, tag and digest after Docker's
/// normalisation. The forms come from the distribution project's tables (`reference_test.go`,
/// `normalize_test.go`); `{64}` stands for as many digits.
const ACCEPTED: &[(&str, &str)] = &[
    ("nginx", "docker.io library/nginx latest -"),
    ("nginx:1.27", "docker.io library/nginx 1.27 -"),
    ("user/x", "docker.io user/x latest -"),
    ("d/docker", "docker.io d/docker latest -"),
    ("library/debian", "docker.io library/debian latest -"),
    ("library/foo/bar", "docker.io library/foo/bar latest -"),
    ("docker.io/debian", "docker.io library/debian latest -"),
    ("docker.io/docker/docker", "docker.io docker/docker latest -"),
    ("docker.io/a.b/c", "docker.io a.b/c latest -"),
    ("docker.io/localhost/x", "docker.io localhost/x latest -"),
    ("index.docker.io/nginx", "docker.io library/nginx latest -"),
    ("index.docker.io/docker/docker", "docker.io docker/docker latest -"),
    ("registry-1.docker.io/library/x", "registry-1.docker.io library/x latest -"),
    ("ghcr.io/a/b/c:v1", "ghcr.io a/b/c v1 -"),
    // Without a slash there is no host.
    ("test_com", "docker.io library/test_com latest -"),
    ("test.com:tag", "docker.io library/test.com tag -"),
    ("test.com:5000", "docker.io library/test.com 5000 -"),
    ("foo_bar.com:8080", "docker.io library/foo_bar.com 8080 -"),
    ("192.168.1.1", "docker.io library/192.168.1.1 latest -"),
    ("192.168.1.1:5000", "docker.io library/192.168.1.1 5000 -"),
    ("lowercase:Uppercase", "docker.io library/lowercase Uppercase -"),
    ("localhost", "docker.io library/localhost latest -"),
    ("localhost:5000", "docker.io library/localhost 5000 -"),
    // With a slash, a dot, a colon, an upper-case letter or `localhost` makes it a host.
    ("localhost/x", "localhost x latest -"),
    ("localhost:5000/x:v1", "localhost:5000 x v1 -"),
    ("test_com/foo", "docker.io test_com/foo latest -"),
    ("foo/foo_bar.com:8080", "docker.io foo/foo_bar.com 8080 -"),
    ("test:5000/repo", "test:5000 repo latest -"),
    ("test:5000/repo:tag", "test:5000 repo tag -"),
    ("test-com:8080/foo", "test-com:8080 foo latest -"),
    ("registry:443/shop/till", "registry:443 shop/till latest -"),
    ("sub-dom1.foo.com/bar/baz/quux:long-tag", "sub-dom1.foo.com bar/baz/quux long-tag -"),
    ("b.gcr.io/a.example.com/my-app:a.com", "b.gcr.io a.example.com/my-app a.com -"),
    ("192.168.1.1/repo", "192.168.1.1 repo latest -"),
    ("192.168.1.1:5000/repo:5050", "192.168.1.1:5000 repo 5050 -"),
    ("Docker/docker", "Docker docker latest -"),
    ("DOCKER/docker", "DOCKER docker latest -"),
    ("Uppercase/lowercase:tag", "Uppercase lowercase tag -"),
    // Punycode.
    ("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com myimage xn--n3h.com -"),
    ("xn--n3h.com:18080/foo", "xn--n3h.com:18080 foo latest -"),
    ("xn--7o8h.com/a:xn--7o8h.com@sha512:{128}", "xn--7o8h.com a xn--7o8h.com sha512:{128}"),
    // IPv6.
    ("[::1]:5000/x", "[::1]:5000 x latest -"),
    ("[2001:db8::]:5000/repo", "[2001:db8::]:5000 repo latest -"),
    ("[2001:db8::1]/x:1", "[2001:db8::1] x 1 -"),
    ("[2001:DB8::A]/x", "[2001:DB8::A] x latest -"),
    ("[2001:db8:1:2:3:4:5:6]/repo:tag", "[2001:db8:1:2:3:4:5:6] repo tag -"),
    ("[fc00:1:2:3:4:5:6:7]:5000/a/b", "[fc00:1:2:3:4:5:6:7]:5000 a/b latest -"),
    ("[2001:db8::1]:5000/repo@sha256:{64}", "[2001:db8::1]:5000 repo - sha256:{64}"),
    ("[2001:db8::1]:5000/repo:tag@sha256:{64}", "[2001:db8::1]:5000 repo tag sha256:{64}"),
    // Signs inside of a name.
    ("a__b/c--d.e", "docker.io a__b/c--d.e latest -"),
    ("docker---rules/docker", "docker.io docker---rules/docker latest -"),
    ("x:_tag", "docker.io library/x _tag -"),
    ("x:A.b-c_", "docker.io library/x A.b-c_ -"),
    // Digests, alone and behind a tag.
    ("nginx@sha256:{64}", "docker.io library/nginx - sha256:{64}"),
    ("nginx:1@sha256:{64}", "docker.io library/nginx 1 sha256:{64}"),
    ("test:5000/repo:tag@sha256:{64}", "test:5000 repo tag sha256:{64}"),
    // 64 digits are an image ID only if nothing else is written.
    ("docker.io/{64}", "docker.io library/{64} latest -"),
    ("{64}:tag", "docker.io library/{64} tag -"),
    ("ffffffffffff", "docker.io library/ffffffffffff latest -"),
];

/// References that Docker refuses.
const REFUSED: &[&str] = &[
    "",
    " nginx",
    "nginx ",
    ":justtag",
    "@sha256:{64}",
    "nginx:",
    "nginx:-x",
    "nginx:.x",
    "nginx:a b",
    "nginx:a:b",
    "nginx:ä",
    "repo@",
    "repo@sha256:ffffffffffffffffffffffffffffffffff",
    "repo@sha256:{128}",
    "repo@sha512:{64}",
    "repo@sha256:0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF",
    "repo@sha256:{64}@sha256:{64}",
    "validname@invaliddigest:{64}",
    "nginx@md5:d41d8cd98f00b204e9800998ecf8427e",
    "UPPER",
    "Uppercase:tag",
    "a/UPPER",
    "test:5000/Uppercase/lowercase:tag",
    "docker.io/docker/Docker",
    "aa/asdf$$^/aa",
    "https://github.com/docker/docker",
    "/a",
    "a/",
    "a//b",
    "docker.io/docker///docker",
    "-docker",
    "-docker/docker",
    "docker-/docker",
    "-docker.io/docker/docker",
    "docker-.io/docker",
    "a..b/docker:5000/x",
    ".example.com/x",
    "____/____",
    "_docker/_docker",
    "dock..er/docker",
    "dock_.er/docker",
    "dock-.er/docker",
    "a___b",
    "ho st/x",
    "host:port/x",
    "host:/x",
    "host:-1/x",
    "user:password@host/x",
    "☃.com/x",
    "[2001:db8::1]",
    "[2001:db8::1]:5000",
    "[2001:db8::1]:tag",
    "[2001:db8::1/x",
    "[2001:db8::1]:/x",
    "[2001:db8::1]x/y",
    "[zz]:1/x",
    "[]/x",
    "fc00::1:5000/debian",
    "[fe80::1%eth0]:5000/repo",
    "[fe80::1%@invalidzone]:5000/repo",
    "[2001:db8:3:4::192.0.2.33]:5000/debian",
    "{64}",
    "sha256:{64}",
];

/// A form of the tables with its digits filled in.
fn filled(form: &str) -> String {
    form.replace("{64}", &"f".repeat(64)).replace("{128}", &"f".repeat(128))
}

#[test]
fn references_are_normalised_as_docker_does() {
    for (form, expected) in ACCEPTED {
        let text = filled(form);
        let reference: Reference = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        let tag = reference.tag.as_deref().unwrap_or("-");
        let digest = reference.digest.as_ref().map_or("-", Digest::as_str);
        let got = format!("{} {} {tag} {digest}", reference.registry, reference.repository);
        assert_eq!(got, filled(expected), "{text}");
        // The printed form means the same.
        assert_eq!(reference.to_string().parse(), Ok(reference), "{text}");
    }
}

#[test]
fn what_docker_refuses_is_refused() {
    for form in REFUSED {
        let text = filled(form);
        assert!(text.parse::<Reference>().is_err(), "{text} was accepted");
    }
}

#[test]
fn a_tag_has_at_most_128_letters_and_a_repository_255() {
    let is_read = |text: String| text.parse::<Reference>().is_ok();
    assert!(is_read(format!("a:{}", "x".repeat(128))));
    assert!(!is_read(format!("a:{}", "x".repeat(129))));
    // The host and the tag do not count.
    assert!(is_read(format!("registry.example.org/{}a:a-tag", "a/".repeat(127))));
    assert!(!is_read(format!("registry.example.org/{}a", "a/".repeat(128))));
    assert!(is_read(format!("a/{}", "b".repeat(253))));
    assert!(!is_read("a".repeat(256)));
}

#[test]
fn names_are_shown_as_docker_shows_them() {
    for (text, familiar, full) in [
        ("library/ubuntu", "ubuntu", "docker.io/library/ubuntu"),
        ("index.docker.io/foo", "foo", "docker.io/library/foo"),
        ("library/foo/bar", "library/foo/bar", "docker.io/library/foo/bar"),
        ("docker.io/a.b/c", "docker.io/a.b/c", "docker.io/a.b/c"),
        ("other/library", "other/library", "docker.io/other/library"),
        ("example.com/library/x", "example.com/library/x", "example.com/library/x"),
        ("127.0.0.1:8000/moonbase", "127.0.0.1:8000/moonbase", "127.0.0.1:8000/moonbase"),
        ("Foo/bar", "Foo/bar", "Foo/bar"),
    ] {
        let reference: Reference = text.parse().expect("a reference");
        assert_eq!((&*reference.familiar_name(), &*reference.full_name()), (familiar, full));
    }
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
