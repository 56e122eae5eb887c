//! What the test can come upon: a code for scripts, what happened, and what to do next.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use reqwest::Url;
use rollcall_protocol::Foreign;
use serde::{Deserialize, Serialize};

use crate::delivery::egress::failure::{Failure, Form, TlsFault};
use crate::delivery::egress::{ANSWER_WITHIN, CONNECT_WITHIN};
use crate::delivery::model::Remark;

/// What the test came upon, under a name that does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ConnectivityCode")]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The host's name has no address.
    HostNotFound,
    /// `egress.allow` does not list the address.
    AddressNotAllowed,
    /// Nothing listens on the port, or a firewall says no.
    ConnectionRefused,
    /// Nobody answers at all.
    ConnectionTimedOut,
    /// There is no way to the address.
    Unreachable,
    /// What listens on the port speaks no TLS.
    NotTls,
    /// What listens on the port speaks TLS, and the receiving URL is one of plain http.
    TlsExpected,
    /// The certificate was signed with its own key, and is not among those that are trusted.
    CertificateSelfSigned,
    /// The certificate of an authority stands for the server itself.
    CertificateOfAuthority,
    /// The certificate was issued by an authority that is not trusted.
    CertificateUnknownAuthority,
    /// The certificate is for another host.
    CertificateOtherHost,
    /// The certificate has expired.
    CertificateExpired,
    /// The certificate is not valid yet.
    CertificateNotYetValid,
    /// There is something else about the certificate.
    CertificateRefused,
    /// The endpoint asks for a certificate of the hub's.
    ClientCertificateWanted,
    /// TLS did not come about for another reason.
    TlsFailed,
    /// The hub cannot make a request for the application.
    NotSealed,
    /// The request was sent and not answered in time.
    TimedOut,
    /// The connection was closed before the answer was whole.
    ConnectionLost,
    /// The endpoint redirects.
    Redirected,
    /// The application says that it refuses the request, in the words of the protocol.
    RefusedByApplication,
    /// Somebody refuses the request who does not speak the protocol: a firewall, a proxy, a login.
    RefusedInBetween,
    /// Nothing takes events at this path.
    NotFound,
    /// The endpoint asks for patience.
    Busy,
    /// A gateway does not reach the application.
    GatewayFailed,
    /// The application failed.
    ApplicationFailed,
    /// Another status that is no success.
    OtherStatus,
    /// A 200 that may have refused something and cannot be read.
    AnswerUnreadable,
    /// A 200 with nothing in it.
    AnswerEmpty,
    /// A 200 with a web page.
    AnswerHtml,
    /// A 200 with something else that is no answer.
    AnswerForeign,
    /// The answer names other events than the one that was sent.
    EventMisnamed,
    /// The answer does not name the event.
    EventNotNamed,
    /// The application refuses the event.
    EventRefused,
    /// The application wants the event again.
    EventWantedAgain,
    /// The application refuses the token.
    CredentialsRefused,
    /// The application has no groups, and is to be told of them.
    GroupsMissing,
    /// The application does not look at filters.
    FiltersPassedOver,
    /// What the application says of itself, or what works there, is not how it is spoken to.
    ProfileDiffers,
    /// None of the ways works in which something has to be done.
    NotPossible,
    /// What was made for the test cannot be removed.
    LeftBehind,
}

/// What the test came upon at a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ConnectivityFinding")]
pub struct Finding {
    /// Its name.
    pub code: Code,
    /// What happened.
    pub detail: String,
    /// What to do next.
    pub advice: String,
}

fn finding(code: Code, detail: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding {
        code,
        detail: detail.into(),
        advice: advice.into(),
    }
}

const MAKE_ONE: &str =
    "openssl req -x509 -newkey rsa:2048 -nodes -days 825 -keyout key.pem -out certificate.pem";

/// No connection came about.
pub(super) fn unconnected(url: &Url, error: &io::Error) -> Finding {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    match error.kind() {
        io::ErrorKind::ConnectionRefused => finding(
            Code::ConnectionRefused,
            format!("{host} refuses connections on port {port}"),
            format!(
                "check that the application runs, and that it listens on port {port} for others than its own machine; \
                 a firewall may refuse connections, too"
            ),
        ),
        io::ErrorKind::TimedOut => finding(
            Code::ConnectionTimedOut,
            format!(
                "{host} does not answer on port {port} within {} s",
                CONNECT_WITHIN.as_secs()
            ),
            format!(
                "check the host in the receiving URL; a firewall may drop the packets: it has to let the hub's \
                 outbound addresses in on port {port}"
            ),
        ),
        _ => finding(
            Code::Unreachable,
            format!("{host}, port {port}: {error}"),
            "there is no way from the hub to this address: check the network, its routes and firewalls",
        ),
    }
}

/// How an address is allowed that the hub does not call by itself.
pub fn allow(address: IpAddr) -> String {
    format!(
        "if this address is meant, add {} or its network to egress.allow (ROLLCALL_EGRESS_ALLOW, serve \
         --egress-allow), and restart the hub",
        IpNet::from(address.to_canonical())
    )
}

/// TLS did not come about.
pub(super) fn insecure(url: &Url, fault: &TlsFault) -> Finding {
    let host = url.host_str().unwrap_or_default();
    let code = match fault {
        TlsFault::NotTls => Code::NotTls,
        TlsFault::SelfSigned { .. } => Code::CertificateSelfSigned,
        TlsFault::AuthorityAsServer => Code::CertificateOfAuthority,
        TlsFault::UnknownAuthority { .. } => Code::CertificateUnknownAuthority,
        TlsFault::OtherHost { .. } => Code::CertificateOtherHost,
        TlsFault::Expired { .. } => Code::CertificateExpired,
        TlsFault::NotYetValid { .. } => Code::CertificateNotYetValid,
        TlsFault::Certificate(_) => Code::CertificateRefused,
        TlsFault::ClientCertificate => Code::ClientCertificateWanted,
        TlsFault::NothingInCommon(_) | TlsFault::Closed | TlsFault::TimedOut | TlsFault::Other(_) => {
            Code::TlsFailed
        }
    };
    let advice = match fault {
        TlsFault::NotTls => {
            "if the application speaks plain http there, write http:// (and have events encrypted); if it speaks \
             https on another port, write that port"
                .to_owned()
        }
        TlsFault::SelfSigned { .. } => {
            "put the certificate into the file that egress.ca_file names and restart the hub, or use one by an \
             authority that is trusted"
                .to_owned()
        }
        TlsFault::AuthorityAsServer => format!(
            "make a certificate that is not one of an authority, and put it into the file that egress.ca_file names: \
             {MAKE_ONE} -subj /CN={host} -addext subjectAltName={} -addext basicConstraints=critical,CA:FALSE",
            alternative_name(url)
        ),
        TlsFault::UnknownAuthority { .. } => {
            "if it is your company's authority, put its certificate into the file that egress.ca_file names and \
             restart the hub; if it is a public one, have the server send its intermediate certificates along"
                .to_owned()
        }
        TlsFault::OtherHost { .. } => format!(
            "write one of those names in the receiving URL, or use a certificate for {host} (as subjectAltName; the \
             common name alone does not count)"
        ),
        TlsFault::Expired { .. } => {
            "renew the certificate and have the server load it; if it is valid, the hub's clock is ahead".to_owned()
        }
        TlsFault::NotYetValid { .. } => {
            "check the hub's clock (rollcall doctor); otherwise use a certificate that is valid already".to_owned()
        }
        TlsFault::Certificate(_) => {
            "use a certificate for servers, with a key and a signature of today's strength".to_owned()
        }
        TlsFault::ClientCertificate => {
            "do not ask for a client certificate at this path: the signature of each request proves who sends"
                .to_owned()
        }
        TlsFault::NothingInCommon(_) => "have the endpoint offer TLS 1.2 or 1.3 with usual ciphers".to_owned(),
        TlsFault::Closed | TlsFault::TimedOut | TlsFault::Other(_) => {
            "check that the application speaks https on this port, and that nothing in between (a firewall, a proxy) \
             stops it"
                .to_owned()
        }
    };
    finding(code, fault.to_string(), advice)
}

/// The host of a URL as `openssl` wants it named in a certificate.
fn alternative_name(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    match host.parse::<IpAddr>() {
        Ok(address) => format!("IP:{address}"),
        Err(_) => format!("DNS:{host}"),
    }
}

/// Plain http was spoken to a port on which TLS is.
pub(super) fn tls_expected(url: &Url) -> Finding {
    let mut secure = url.clone();
    // Cannot fail from http.
    let _ = secure.set_scheme("https");
    finding(
        Code::TlsExpected,
        "the endpoint speaks TLS on this port, and the receiving URL is one of plain http",
        format!("write https:// in the receiving URL: rollcall app set NAME --url {secure}"),
    )
}

/// A request brought no answer.
pub(super) fn unanswered(url: &Url, failure: &Failure) -> Finding {
    match failure {
        Failure::Unsealed(reason) => finding(
            Code::NotSealed,
            reason,
            "mend the application's keys (rollcall app key, rollcall app set --encrypt) and test again",
        ),
        Failure::Unsuitable { .. } => finding(
            Code::RefusedByApplication,
            failure.to_string(),
            "choose another way of changing users and groups in the application's profile",
        ),
        Failure::Forbidden { address, .. } => {
            finding(Code::AddressNotAllowed, failure.to_string(), allow(*address))
        }
        Failure::Resolve(_) => finding(
            Code::HostNotFound,
            failure.to_string(),
            "check the spelling of the host in the receiving URL, and that the hub's machine can resolve it (DNS, \
             /etc/hosts)",
        ),
        Failure::Connect(reason) => finding(
            Code::Unreachable,
            format!("no connection: {reason}"),
            "check that the application runs, the port in the receiving URL, and that firewalls let the hub in",
        ),
        Failure::Tls(fault) => insecure(url, fault),
        Failure::TimedOut => finding(
            Code::TimedOut,
            format!(
                "the request was sent, and not answered within {} s",
                ANSWER_WITHIN.as_secs()
            ),
            "answer at once: store the events, answer, and process them afterwards",
        ),
        Failure::Broken(_) => finding(
            Code::ConnectionLost,
            failure.to_string(),
            "the connection was closed before the answer was whole: look into the logs of the application, and of \
             proxies in front of it",
        ),
        Failure::Unreadable(reason) => finding(
            Code::AnswerUnreadable,
            reason,
            "answer with a JSON object of the protocol, in UTF-8 and not compressed, that names each event once",
        ),
        Failure::Status {
            status,
            said,
            form,
            retry_after: _,
        } => {
            let (code, advice) = of_status(*status, form);
            finding(code, words(*status, form, said.as_deref()), advice)
        }
    }
}

/// A request of SCIM brought no answer, or none that is about what was asked.
pub(super) fn unasked(url: &Url, failure: &Failure) -> Finding {
    let Failure::Status {
        status, said, form, ..
    } = failure
    else {
        return match failure {
            Failure::Unsealed(reason) => finding(
                Code::NotSealed,
                reason,
                "enter the token or the client's secret again: rollcall app set NAME --secret-file FILE",
            ),
            Failure::Unreadable(reason) => finding(
                Code::AnswerUnreadable,
                reason,
                "check the token URL: an answer as OAuth 2.0 has it (access_token) has to come from there",
            ),
            _ => unanswered(url, failure),
        };
    };
    let (code, advice) = match status {
        401 | 403 => (
            Code::CredentialsRefused,
            "the application refuses the token, or what the token is for: enter it again (rollcall app set NAME --secret-file FILE), and see at the application that it may read and write users and groups",
        ),
        404 | 405 | 410 | 501 => (
            Code::NotFound,
            "check the base URL: Users and Groups have to be right below it",
        ),
        429 => (
            Code::Busy,
            "the application asks for patience: test again later; if it stays so, set its limit with --rate",
        ),
        400..=499 => (
            Code::RefusedByApplication,
            "the application refuses to be asked by a filter: its documentation says what it takes",
        ),
        _ => of_status(*status, form),
    };
    finding(code, words(*status, form, said.as_deref()), advice)
}

/// There is nothing where groups would be.
pub(super) fn no_groups(failure: &Failure) -> Finding {
    finding(
        Code::GroupsMissing,
        failure.to_string(),
        "the application seems to have no groups: rollcall app set NAME --push-groups false",
    )
}

/// Where a list should be, there is something else.
pub(super) fn no_list() -> Finding {
    finding(
        Code::AnswerForeign,
        "HTTP 200 with something that is no list of SCIM",
        "check the base URL: it has to be that of the application's SCIM service, not of its pages",
    )
}

/// Somebody was found whom nobody can be.
pub(super) fn passes_over_filters(detail: String) -> Finding {
    finding(
        Code::FiltersPassedOver,
        detail,
        "the application does not look at filters, so that whoever is there already may not be found: synchronize only if it is empty, or ask its makers",
    )
}

/// What the application says of itself is not how it is spoken to.
pub(super) fn profile_differs(name: &str, differences: &[(String, String)]) -> Finding {
    let (what, options): (Vec<&str>, Vec<&str>) = differences
        .iter()
        .map(|(what, option)| (what.as_str(), option.as_str()))
        .unzip();
    finding(
        Code::ProfileDiffers,
        format!("the application says: {}", what.join("; ")),
        format!("rollcall app set {name:?} {}", options.join(" ")),
    )
}

/// What works is not how the application is spoken to.
pub(super) fn profile_tried(name: &str, differences: &[(String, String)]) -> Finding {
    let (what, options): (Vec<&str>, Vec<&str>) = differences
        .iter()
        .map(|(what, option)| (what.as_str(), option.as_str()))
        .unzip();
    finding(
        Code::ProfileDiffers,
        what.join("; "),
        format!(
            "rollcall app set {name:?} {}, or test again with --apply",
            options.join(" ")
        ),
    )
}

/// None of the ways works.
pub(super) fn not_possible(evidence: &str) -> Finding {
    finding(
        Code::NotPossible,
        evidence,
        "the application takes it in none of the ways that the hub knows: its documentation says what it takes, and its \
         log why it refuses",
    )
}

/// What was made for the test is still there.
pub(super) fn left_behind(name: &str, left: &[String], evidence: &str) -> Finding {
    finding(
        Code::LeftBehind,
        format!("{} could not be removed: {evidence}", left.join(", ")),
        format!("remove what is called {name} at the application by hand"),
    )
}

/// The status, who speaks, and what is said: the beginning of it, quoted.
fn words(status: u16, form: &Form, said: Option<&str>) -> String {
    match (form, said) {
        (_, Some(said)) if matches!(status, 300..400) => format!("HTTP {status}, {said}"),
        (Form::Protocol { .. }, Some(said)) => format!("HTTP {status}, and the application says: {said}"),
        (Form::Foreign(Foreign::Empty), _) | (_, None) => format!("HTTP {status} without a word"),
        (Form::Foreign(what), Some(said)) => format!("HTTP {status} with {what}: {}", quoted(said)),
    }
}

/// How much of a body is shown, in characters.
const SHOWN: usize = 160;

/// The beginning of a text in one line and in quotes.
fn quoted(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let beginning: String = line.chars().take(SHOWN).collect();
    let more = if beginning.len() < line.len() { "…" } else { "" };
    format!("\"{beginning}{more}\"")
}

fn of_status(status: u16, form: &Form) -> (Code, &'static str) {
    match (status, form) {
        (300..400, _) => (
            Code::Redirected,
            "redirects are not followed: write the final address as the receiving URL; a redirect to a login means that the path has to be reached without one",
        ),
        (404 | 410, _) => (
            Code::NotFound,
            "check the path of the receiving URL: nothing is there",
        ),
        (405, _) => (
            Code::NotFound,
            "check the path of the receiving URL, and that the application takes POST there",
        ),
        (429, _) => (
            Code::Busy,
            "the endpoint asks for patience: test again later; if it stays so, lower --requests-per-second or --lanes",
        ),
        (_, Form::Protocol { error }) if status >= 400 => match advice_on(error) {
            Some(advice) => (Code::RefusedByApplication, advice),
            None if status >= 500 => (
                Code::ApplicationFailed,
                "the application failed: its log says why",
            ),
            None => (
                Code::RefusedByApplication,
                "compare the application id, the address of the public keys and the encryption key that it uses with those of rollcall app show; its log says more",
            ),
        },
        (401 | 403 | 407, Form::Foreign(_)) => (
            Code::RefusedInBetween,
            "this is not how an application refuses events: a firewall, a proxy or a login in front of it does. Let POSTs to this path through from the hub's outbound addresses without a login; the signature proves who sends",
        ),
        (502 | 504, Form::Foreign(_)) => (
            Code::GatewayFailed,
            "a proxy in front of the application does not reach it: check that the application runs, and where the proxy leads",
        ),
        (503, Form::Foreign(_)) => (
            Code::Busy,
            "the endpoint is not available now: check that the application runs, and test again",
        ),
        (500.., Form::Foreign(_)) => (
            Code::ApplicationFailed,
            "the application failed: its log says why",
        ),
        (400.., _) => (
            Code::RefusedInBetween,
            "this is not how an application refuses events ({\"error\",\"errorDescription\"} is): see whether it is the application that answers; its log, or that of the proxy in front of it, says why",
        ),
        _ => (
            Code::OtherStatus,
            "answer with the status 200 and {\"successEvents\":[…]}: every other status counts as a failure, and the events are sent again",
        ),
    }
}

/// What to do about an error that receivers name (`rollcall-receiver` and the official SDK).
fn advice_on(error: &str) -> Option<&'static str> {
    Some(match error {
        "forbidden" => "add the hub's outbound addresses to the application's allow-list",
        "unknown_key" => {
            "the application does not know the key that signs: give it the address of the public keys of rollcall app show; restart it or update its pinned keys"
        }
        "bad_signature" => {
            "the application verifies with other public keys: give it the address of rollcall app show; something in between may also change requests"
        }
        "wrong_audience" => "give the application its id, as rollcall app show says it",
        "wrong_instance" => "the application expects another hub: give it the instance of this one",
        "expired" | "not_yet_valid" => {
            "the clocks of the hub and of the application are more than a minute apart: set both by NTP"
        }
        "not_encrypted" => {
            "the application expects encrypted events: rollcall app set --encrypt makes a key, which the application needs too"
        }
        "no_decryption_key" => {
            "give the application the encryption key, or switch encryption off (rollcall app set --no-encryption)"
        }
        "undecryptable" | "malformed_jwe" => {
            "the application has another encryption key: enter the same one at both ends (rollcall app set --encrypt makes a new one)"
        }
        "bad_request" => {
            "the application refuses the request: compare its application id, address of the public keys and encryption key with those of rollcall app show; its log says more"
        }
        _ => return None,
    })
}

/// A 200 came with something that is no answer.
pub(super) fn assumed(what: Foreign) -> Finding {
    let (code, advice) = match what {
        Foreign::Empty => (
            Code::AnswerEmpty,
            "an empty 200 counts as received, whoever sends it: have the application answer {\"successEvents\":[{\"eventId\":\"…\"}]}, so that what fails is noticed and sent again",
        ),
        Foreign::Html => (
            Code::AnswerHtml,
            "a web page counts as received like every 200, but a login page or a proxy answers so: make sure that the application takes POSTs at this path, and have it answer {\"successEvents\":[{\"eventId\":\"…\"}]}",
        ),
        Foreign::Xml | Foreign::Json | Foreign::Text | Foreign::Binary => (
            Code::AnswerForeign,
            "a 200 counts as received, whatever it holds: make sure that it is the application that answers, and have it answer {\"successEvents\":[{\"eventId\":\"…\"}]}",
        ),
    };
    finding(code, format!("assumed, not confirmed: {what}"), advice)
}

/// The answer does not speak of the event.
pub(super) fn unnamed(sent: &str, strangers: &[String]) -> Finding {
    match strangers {
        [] => finding(
            Code::EventNotNamed,
            "the answer does not name the event; it counts as received",
            "answer each event with the eventId that it bears, in one of the four lists",
        ),
        named => finding(
            Code::EventMisnamed,
            format!(
                "the answer names {} instead of {sent}; the event counts as received",
                named.join(", ")
            ),
            "answer each event with the eventId that it bears (not its bizId, nor an id of the application's own)",
        ),
    }
}

/// The application did not take the event.
pub(super) fn not_taken(remark: &Remark, wanted_again: bool) -> Finding {
    let said = [Some(remark.code.as_str()), remark.message.as_deref()];
    let said = said.into_iter().flatten().filter(|text| !text.is_empty());
    let said = said.collect::<Vec<_>>().join(" ");
    if wanted_again {
        finding(
            Code::EventWantedAgain,
            format!("the application verified the event and wants it again: {said}"),
            "see in the application's log what it is waiting for; it should answer common:test with successEvents",
        )
    } else {
        finding(
            Code::EventRefused,
            format!("the application verified the event and refuses it: {said}"),
            "see in the application's log why; it should answer common:test with successEvents",
        )
    }
}
