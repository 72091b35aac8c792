//! What the page says, and in which form.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use std::time::SystemTime;

fn page() -> Page {
    let mut page = Page::new();
    page.time("certificate_expiry_timestamp_seconds", "When the certificate ends", SystemTime::UNIX_EPOCH);
    page
}

#[test]
fn what_was_counted_stands_on_the_page() {
    let metrics = Metrics::new();
    metrics.requests.count(Class::Api, Code::of(200));
    metrics.requests.count(Class::Api, Code::of(200));
    metrics.requests.count(Class::Api, Code::of(777));
    metrics.refused("unauthorized");
    let open = metrics.open_socket(Socket::Anonymous);
    let text = metrics.render(Format::Text, &page());
    for line in [
        "comfy_guard_requests_total{class=\"api\",code=\"200\"} 2",
        "comfy_guard_requests_total{class=\"api\",code=\"other\"} 1",
        "comfy_guard_requests_total{class=\"own\",code=\"200\"} 0",
        "comfy_guard_refusals_total{error=\"unauthorized\"} 1",
        "comfy_guard_websockets_open{kind=\"anonymous\"} 1",
        "comfy_guard_websockets_total{kind=\"anonymous\"} 1",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
    }
    drop(open);
    assert!(metrics.render(Format::Text, &page()).contains("comfy_guard_websockets_open{kind=\"anonymous\"} 0"));
}

#[test]
fn each_form_is_whole() {
    let metrics = Metrics::new();
    let text = metrics.render(Format::Text, &page());
    assert!(text.contains("# TYPE comfy_guard_requests_total counter") && !text.contains("# EOF"));
    let open = metrics.render(Format::OpenMetrics, &page());
    assert!(open.contains("# TYPE comfy_guard_requests counter"));
    assert_eq!(open.matches("# EOF\n").count(), 1);
    assert!(open.ends_with("# EOF\n"));
}

#[test]
fn openmetrics_is_for_those_who_name_it() {
    let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    assert_eq!(Format::of(prometheus), Format::OpenMetrics);
    for accept in ["", "*/*", "text/plain", "text/html,application/openmetrics-textual"] {
        assert_eq!(Format::of(accept), Format::Text, "{accept}");
    }
}
