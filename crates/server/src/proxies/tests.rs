//! What proxies say, as tables of cases, and against strangers who write the same headers.

use axum::http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

fn proxies(forwarded_by: ForwardedBy) -> Proxies {
    let networks = ["10.0.0.0/8", "fd00::/8", "192.0.2.250"].map(str::to_owned);
    Proxies::new(&networks, forwarded_by).unwrap()
}

fn headers<'a>(lines: impl IntoIterator<Item = (&'static str, &'a str)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    headers
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Who asks in these headers through the proxy 10.0.0.1.
fn asking(forwarded_by: ForwardedBy, lines: &[(&'static str, &str)]) -> Client {
    let headers = headers(lines.iter().copied());
    proxies(forwarded_by).client(ip("10.0.0.1"), false, &Uri::from_static("/x"), &headers)
}

const FOR: &str = X_FORWARDED_FOR;
const PROTO: &str = X_FORWARDED_PROTO;
const HOST: &str = X_FORWARDED_HOST;
const FORWARDED: &str = "forwarded";
/// What the proxy's own address stands for: nothing is believed.
const NOBODY: &str = "10.0.0.1";

#[test]
fn the_client_is_the_last_of_x_forwarded_for_that_is_no_trusted_proxy() {
    for (lines, address) in [
        (&[][..], NOBODY),
        (&["198.51.100.7"], "198.51.100.7"),
        (&["198.51.100.7:4711"], "198.51.100.7"),
        (&["2001:db8::7"], "2001:db8::7"),
        (&["[2001:db8::7]"], "2001:db8::7"),
        (&["[2001:db8::7]:4711"], "2001:db8::7"),
        (&["::ffff:198.51.100.7"], "198.51.100.7"),
        // What the client sent stands before what the proxy wrote.
        (&["203.0.113.1, 198.51.100.7"], "198.51.100.7"),
        (&["nonsense\", 198.51.100.7"], "198.51.100.7"),
        (&["\u{fc}\u{fc}, 198.51.100.7"], "198.51.100.7"),
        (&["203.0.113.1", "198.51.100.7"], "198.51.100.7"),
        (&["203.0.113.1,198.51.100.7, 10.1.2.3 ,fd00::9"], "198.51.100.7"),
        (
            &["203.0.113.1, 198.51.100.7", " ,", "192.0.2.250"],
            "198.51.100.7",
        ),
        (&["198.51.100.7, ::ffff:10.1.2.3"], "198.51.100.7"),
        // A client in the proxies' own network.
        (&["10.9.9.9, 10.1.2.3"], "10.9.9.9"),
        // Malformed where it counts.
        (&["unknown"], NOBODY),
        (&["198.51.100.7, unknown"], NOBODY),
        (&["198.51.100.7, 10.1.2.3, 10.1.2"], NOBODY),
        (&["198.51.100.7 10.1.2.3"], NOBODY),
        (&["[198.51.100.7]"], NOBODY),
        (&["2001:db8::7:x"], NOBODY),
        (&["fe80::1%eth0"], NOBODY),
        (&[" , "], NOBODY),
    ] {
        let sent: Vec<_> = lines.iter().map(|line| (FOR, *line)).collect();
        let found = asking(ForwardedBy::XForwardedFor, &sent);
        assert_eq!(found.address, ip(address), "{lines:?}");
        // The other family is not looked at, also where it would name somebody.
        assert_eq!(asking(ForwardedBy::Forwarded, &sent).address, ip(NOBODY));
        // And nobody is believed who is no proxy.
        let stranger = ip("192.0.2.251");
        let direct = proxies(ForwardedBy::XForwardedFor).client(
            stranger,
            false,
            &Uri::from_static("/"),
            &headers(sent),
        );
        assert_eq!(direct.address, stranger);
    }
}

#[test]
fn what_stands_beside_x_forwarded_for_is_that_of_the_same_proxy() {
    let asked = |lines: &[(&'static str, &str)]| {
        let client = asking(ForwardedBy::XForwardedFor, lines);
        (client.secure, client.host)
    };
    let hub = || Some("hub.example".to_owned());
    let one = (FOR, "198.51.100.7");
    let two = (FOR, "203.0.113.1, 198.51.100.7, 10.1.2.3");
    let own = ("host", "10.0.0.2:8750");
    assert_eq!(asked(&[one, own]), (false, Some("10.0.0.2:8750".to_owned())));
    assert_eq!(
        asked(&[one, own, (PROTO, "https"), (HOST, "hub.example")]),
        (true, hub())
    );
    assert_eq!(
        asked(&[one, (PROTO, "HTTPS"), (HOST, "hub.example")]),
        (true, hub())
    );
    assert_eq!(asked(&[one, (PROTO, "http")]), (false, None));
    // The proxy appends to what the client sent.
    assert_eq!(asked(&[one, (PROTO, "https, http")]), (false, None));
    // Two proxies that append, and two of which the inner one leaves it as it is.
    assert_eq!(
        asked(&[two, (PROTO, "https, http"), (HOST, "hub.example, inner")]),
        (true, hub())
    );
    assert_eq!(
        asked(&[two, (PROTO, "https"), (HOST, "hub.example")]),
        (true, hub())
    );
    // No host: nothing that is read as one.
    for nonsense in ["a b", "user@hub.example", "hub.example/path", "\u{fc}"] {
        assert_eq!(asked(&[one, (HOST, nonsense)]), (false, None), "{nonsense}");
    }
    // If it cannot be told who asks, nothing else is believed either.
    let unreadable = [(FOR, "unknown"), (PROTO, "https"), (HOST, "hub.example"), own];
    assert_eq!(asked(&unreadable), (false, Some("10.0.0.2:8750".to_owned())));
}

#[test]
fn forwarded_is_read_as_rfc_7239_has_it() {
    let hub = Some("hub.example");
    let port = Some("hub.example:8443");
    for (lines, address, secure, host) in [
        (&["for=198.51.100.7"][..], "198.51.100.7", false, None),
        (
            &["For=198.51.100.7;Proto=https;Host=hub.example"],
            "198.51.100.7",
            true,
            hub,
        ),
        (
            &["proto=https; by=10.0.0.1 ;host=\"hub.example:8443\"; for=\"198.51.100.7:4711\""],
            "198.51.100.7",
            true,
            port,
        ),
        (
            &["for=\"[2001:db8::7]:4711\";proto=http"],
            "2001:db8::7",
            false,
            None,
        ),
        (&["for=\"[2001:db8::7]\""], "2001:db8::7", false, None),
        // Without the quotes that they need, as some write them.
        (
            &["for=[2001:db8::7]:4711;host=hub.example:8443"],
            "2001:db8::7",
            false,
            port,
        ),
        (
            &["for=203.0.113.1;proto=https;host=evil.example, for=198.51.100.7;host=hub.example"],
            "198.51.100.7",
            false,
            hub,
        ),
        (
            &[
                "for=203.0.113.1",
                "for=198.51.100.7;proto=https, for=10.1.2.3;proto=http",
            ],
            "198.51.100.7",
            true,
            None,
        ),
        // A line of the client's that cannot be read does not spoil the proxy's.
        (
            &["for=\"", "for=198.51.100.7;proto=https"],
            "198.51.100.7",
            true,
            None,
        ),
        (
            &["for=198.51.100.7;ext=\"a,b;c\", , for=10.1.2.3"],
            "198.51.100.7",
            false,
            None,
        ),
        (&["for=198.51.100.7,"], "198.51.100.7", false, None),
        // Malformed, or nobody is named.
        (&["for=unknown"], NOBODY, false, None),
        (&["for=_hidden, for=10.1.2.3"], NOBODY, false, None),
        (&["proto=https;host=hub.example"], NOBODY, false, None),
        (&["for=198.51.100.7;for=203.0.113.1"], NOBODY, false, None),
        (&["for=198.51.100.7;proto=https;PROTO=http"], NOBODY, false, None),
        (&["for=\"198.51.100.7"], NOBODY, false, None),
        (&["for=\"198.51.100.7\"x"], NOBODY, false, None),
        (&["for=\"198.51.100\\.7\""], NOBODY, false, None),
        (&["for = 198.51.100.7"], NOBODY, false, None),
        (&["for=198.51.100.7 proto=https"], NOBODY, false, None),
        (&["for="], NOBODY, false, None),
        (&["for"], NOBODY, false, None),
        (&["198.51.100.7"], NOBODY, false, None),
        (&["=198.51.100.7"], NOBODY, false, None),
        (&[""], NOBODY, false, None),
    ] {
        let sent: Vec<_> = lines.iter().map(|line| (FORWARDED, *line)).collect();
        let expected = Client {
            address: ip(address),
            secure,
            host: host.map(str::to_owned),
        };
        assert_eq!(asking(ForwardedBy::Forwarded, &sent), expected, "{lines:?}");
        assert_eq!(
            asking(ForwardedBy::XForwardedFor, &sent).address,
            ip(NOBODY),
            "{lines:?}"
        );
    }
}

#[test]
fn a_connection_of_ours_that_is_encrypted_is_secure_unless_the_proxy_says_otherwise() {
    let proxies = proxies(ForwardedBy::XForwardedFor);
    let secure = |peer: &str, lines: &[(&'static str, &str)]| {
        let uri = Uri::from_static("/");
        proxies
            .client(ip(peer), true, &uri, &headers(lines.iter().copied()))
            .secure
    };
    let plain = [(FOR, "198.51.100.7"), (PROTO, "http")];
    assert!(secure("198.51.100.7", &plain));
    assert!(secure("10.0.0.1", &plain[..1]));
    assert!(!secure("10.0.0.1", &plain));
}

#[test]
fn the_host_is_that_of_the_address_asked_for_or_of_its_header() {
    let host = |uri: &'static str, lines: &[(&'static str, &str)]| {
        let headers = headers(lines.iter().copied());
        let client = Proxies::default().client(ip("192.0.2.1"), false, &Uri::from_static(uri), &headers);
        client.host
    };
    assert_eq!(host("/x", &[("host", "hub:8750")]).as_deref(), Some("hub:8750"));
    assert_eq!(host("http://hub/x", &[("host", "other")]).as_deref(), Some("hub"));
    assert_eq!(host("/x", &[]), None);
    assert_eq!(host("/x", &[("host", "a b")]), None);
}

#[test]
fn what_is_no_network_is_named() {
    let error = |network: &str| Proxies::new(&[network.to_owned()], ForwardedBy::default()).unwrap_err();
    for network in ["10.0.0.0/33", "proxy.example", "", "10.0.0"] {
        assert!(error(network).contains(&format!("{network:?}")), "{network}");
    }
}

fn stranger() -> impl Strategy<Value = IpAddr> {
    any::<IpAddr>()
        .prop_map(|address| address.to_canonical())
        .prop_filter("no trusted proxy", |address| {
            !proxies(ForwardedBy::default()).trusts(*address)
        })
}

fn trusted() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 3]>().prop_map(|[a, b, c]| IpAddr::from([10, a, b, c])),
        any::<[u16; 7]>().prop_map(|[a, b, c, d, e, f, g]| IpAddr::from([0xfd12, a, b, c, d, e, f, g])),
    ]
}

/// An address as proxies write them.
fn written(address: IpAddr, port: Option<u16>) -> String {
    match (address, port) {
        (address, Some(port)) => SocketAddr::new(address, port).to_string(),
        (IpAddr::V6(address), None) => format!("[{address}]"),
        (IpAddr::V4(address), None) => address.to_string(),
    }
}

proptest! {
    #[test]
    fn nothing_that_a_client_sends_makes_it_somebody_else(
        client in stranger(),
        port in any::<Option<u16>>(),
        hops in prop::collection::vec(trusted(), 0..4),
        sent in "[ -~]{0,60}|([0-9.:]{1,12},? ?){0,5}|(for=|proto=|\"|\\[|,|;|[0-9a-f.:]){0,20}",
        own_line in any::<bool>(),
        secure in any::<bool>(),
    ) {
        let chain = || std::iter::once(client).chain(hops.iter().copied());
        let list = chain().map(|address| written(address, port)).collect::<Vec<_>>().join(", ");
        let value = if own_line { list } else { format!("{sent}, {list}") };
        let proto = if secure { "https" } else { "http" };
        let mut lines = vec![(FOR, value.as_str()), (PROTO, proto)];
        if own_line {
            lines.insert(0, (FOR, &sent));
        }
        let found = asking(ForwardedBy::XForwardedFor, &lines);
        prop_assert_eq!((found.address, found.secure), (client, secure));

        // Whoever appends to a line of `Forwarded` that is malformed writes a malformed line, so the proxy does not.
        let value = chain()
            .map(|address| format!("for=\"{}\";proto={proto}", written(address, port)))
            .collect::<Vec<_>>()
            .join(",");
        let found = asking(ForwardedBy::Forwarded, &[(FORWARDED, &sent), (FORWARDED, &value)]);
        prop_assert_eq!((found.address, found.secure), (client, secure));
        let joined = format!("{sent}, {value}");
        let found = asking(ForwardedBy::Forwarded, &[(FORWARDED, &joined)]);
        prop_assert!([client, ip(NOBODY)].contains(&found.address), "{}", found.address);
    }

    #[test]
    fn no_bytes_are_too_strange(line in prop::collection::vec(any::<u8>(), 0..80)) {
        let Ok(value) = HeaderValue::from_bytes(&line) else {
            return Ok(());
        };
        for (name, forwarded_by) in [
            (HeaderName::from_static(FOR), ForwardedBy::XForwardedFor),
            (header::FORWARDED, ForwardedBy::Forwarded),
        ] {
            let headers = HeaderMap::from_iter([(name, value.clone())]);
            proxies(forwarded_by).client(ip("10.0.0.1"), false, &Uri::from_static("/"), &headers);
        }
    }
}
