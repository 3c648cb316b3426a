//! What the service tells of itself over HTTP, and what strangers can do to it there; the
//! operator's command that reads it.
#![cfg(unix)]

#[expect(dead_code, reason = "what this test needs of it is a part")]
mod driver_side;
mod observed;
#[expect(dead_code, reason = "what this test needs of it is a part")]
mod shell;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Output;

use driver_side::{DriverSide, PATIENCE};
use observed::{CLEAN, CONTAINER, ask, grafana, observed, queries};
use shell::siloscan;
use siloscan_core::wire::WireVerdict;
use siloscan_service::metrics::{STATUS_VERSION, Status};
use siloscan_service::platform::ConnectError;

/// The words of a text that begin so.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|word| word.starts_with("siloscan_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn metrics_and_status_tell_the_same_facts() {
    let observed = observed();
    // The last copy goes back after its answer.
    let (head, text) = observed.running.driver.wait(|| {
        let answer = observed.get("/metrics");
        let is_back = answer.1.contains("\nsiloscan_copies_bytes 0\n");
        is_back.then_some(answer)
    });
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let kind = "Content-Type: text/plain; version=0.0.4; charset=utf-8";
    assert!(head.contains(kind), "{head}");
    for line in [
        "siloscan_connected 1",
        r#"siloscan_scans_total{outcome="clean"} 3"#,
        r#"siloscan_scans_total{outcome="infected"} 1"#,
        r#"siloscan_scans_total{outcome="unscannable"} 1"#,
        r#"siloscan_scan_duration_seconds_count{outcome="clean"} 3"#,
        r#"siloscan_driver_opens_total{route="look-up",reason="layer"} 8"#,
        r#"siloscan_driver_opens_total{route="look-up",reason="scratch"} 0"#,
        r#"siloscan_driver_failures_total{reason="breaker"} 1"#,
        r#"siloscan_driver_decisions_total{decision="deny",reason="scanned-infected"} 1"#,
        "siloscan_driver_cache_hits_total 6",
        "siloscan_driver_cache_look_ups_total 8",
        "siloscan_driver_epoch 5",
        "siloscan_workers_wanted 3",
        concat!(
            r#"siloscan_exclusion_hits_total{kind="container","#,
            r#"name="09090909-0909-0909-0909-090909090909"} 0"#
        ),
    ] {
        let wanted = format!("\n{line}\n");
        assert!(text.contains(&wanted), "{line} is not in\n{text}");
    }
    let start_tax =
        format!("siloscan_container_start_tax_seconds_total{{container=\"{CONTAINER}\"}} 0.250000");
    assert!(text.contains(&start_tax), "{text}");
    let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let series = samples.iter().filter_map(|line| line.rsplit_once(' '));
    let series: BTreeSet<&str> = series.map(|(series, _)| series).collect();
    assert_eq!(series.len(), samples.len(), "no series is told twice");

    let (head, text) = observed.get("/status?x=1");
    assert!(head.contains("Content-Type: application/json"), "{head}");
    let status: Status = serde_json::from_str(&text).expect("a status");
    assert_eq!(status.version, STATUS_VERSION);
    assert!(status.connected);
    assert_eq!(status.counts, observed.running.service.figures());
    assert_eq!((status.counts.clean, status.hits()), (CLEAN, 6));
    assert_eq!(status.containers[0].start_waited_us, 250_000);
    assert_eq!(status.rules.count, Some(1));
    let times = &status.times[0];
    assert_eq!(
        (times.outcome.as_str(), times.buckets.iter().sum::<u64>()),
        ("clean", CLEAN)
    );
    assert!(times.sum_us > 0);
    observed.finish();
}

#[test]
fn every_metric_of_the_dashboard_and_of_the_alerts_is_told() {
    let observed = observed();
    let (_, text) = observed.get("/metrics");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let told: BTreeSet<String> = samples
        .filter_map(|line| line.split(['{', ' ']).next())
        .map(str::to_owned)
        .collect();
    let alerts = std::fs::read_to_string(grafana().join("alerts.yml")).expect("the alerts");
    let wanted = names(&(queries().join("\n") + &alerts));
    assert!(wanted.len() > 20, "{wanted:?}");
    let absent: Vec<_> = wanted.difference(&told).collect();
    assert!(absent.is_empty(), "nobody tells {absent:?}");
    observed.finish();
}

#[test]
fn hostile_guests_cost_nobody_else_anything() {
    let observed = observed();
    let address = observed.endpoint.address();
    let status = |request: &[u8]| {
        let (head, _) = ask(address, request);
        head.split(' ').nth(1).map(str::to_owned)
    };
    let is = |code: &str| Some(code.to_owned());
    assert_eq!(status(b"\x16\x03\x01\x02\x00\x01\xfc\x03"), is("400"));
    assert_eq!(status(b"GET /metrics\r\n\r\n"), is("400"));
    assert_eq!(status(b"POST /metrics HTTP/1.1\r\n\r\n"), is("405"));
    assert_eq!(status(b"GET /etc/passwd HTTP/1.1\r\n\r\n"), is("404"));
    let mut long = b"GET /metrics HTTP/1.1\r\nX: ".to_vec();
    long.resize(1 << 20, b'a');
    assert_eq!(status(&long), is("431"));

    // More than there is room for: they say nothing, or half of something.
    let silent: Vec<TcpStream> = (0..100)
        .map(|number| {
            let mut stream = TcpStream::connect(address).expect("it listens");
            if number % 2 == 0 {
                stream.write_all(b"GET /met").expect("it is open");
            }
            stream
        })
        .collect();
    assert!(
        observed
            .get("/metrics")
            .1
            .contains("siloscan_connected 1\n")
    );
    assert_eq!(observed.verdict(b"a file"), WireVerdict::CLEAN);
    // Each of them is sent away, whether for a later one or for its time.
    for mut stream in silent {
        let patience = stream.set_read_timeout(Some(PATIENCE));
        patience.expect("a timeout");
        let mut rest = Vec::new();
        // A connection that is closed over unread bytes is reset.
        let ended = stream.read_to_end(&mut rest).map_err(|e| e.kind());
        assert_ne!(ended, Err(ErrorKind::WouldBlock), "it is still held");
        assert!(rest.is_empty());
    }
    assert!(observed.get("/status").1.starts_with('{'));
    observed.finish();
    assert!(
        TcpStream::connect(address).is_err(),
        "nobody listens any more"
    );
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn disconnect(driver: &DriverSide) {
    driver.refuse(Some(ConnectError::NoDriver));
    driver.disconnect();
}

#[test]
fn the_command_tells_how_the_service_is_and_what_to_do() {
    let observed = observed();
    let address = observed.endpoint.address().to_string();
    let (code, table, errors) = said(&siloscan(&["status", "--address", &address]));
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{table}");
    for part in [
        "75.0 % of the look-ups",
        "3 clean, 1 infected, 1 unscannable",
        "3 of 3 alive",
        "1 breaker",
        "all is well",
        "good to know: only the built-in rule",
    ] {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
    let (code, json, _) = said(&siloscan(&["status", "--json", "--address", &address]));
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(code, Some(0));
    assert_eq!(
        (&json["version"], &json["connected"]),
        (&1.into(), &true.into())
    );
    assert_eq!(json["attention"], serde_json::json!([]));

    let (code, frame, errors) = said(&siloscan(&[
        "top",
        "--once",
        "--interval",
        "1",
        "--address",
        &address,
    ]));
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{frame}");
    for part in ["connected", CONTAINER, "250.0 ms", "look-up", "infected"] {
        assert!(frame.contains(part), "{part} is not in\n{frame}");
    }

    let lines = ["top", "--once", "--json", "--address", &address];
    let (code, line, errors) = said(&siloscan(&lines));
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{line}");
    let line: serde_json::Value = serde_json::from_str(line.trim_end()).expect("one object");
    assert_eq!(line["connected"], true);

    disconnect(&observed.running.driver);
    let service = &observed.running.service;
    let driver = &observed.running.driver;
    driver.wait(|| (!service.is_connected()).then_some(()));
    let (code, table, _) = said(&siloscan(&["status", "--address", &address]));
    assert_eq!(code, Some(1), "{table}");
    assert!(table.contains("needs attention: there is no connection"));
    observed.finish();

    for command in ["status", "top"] {
        let more = if command == "top" { "--once" } else { "--json" };
        let (code, out, errors) = said(&siloscan(&[command, more, "--address", &address]));
        assert_eq!((code, out.as_str()), (Some(2), ""), "{errors}");
        let next = format!("siloscand --metrics {address}");
        assert!(errors.contains(&next), "{errors}");
    }
}

#[test]
fn the_command_believes_no_stranger() {
    let strangers = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = strangers.local_addr().expect("its address").to_string();
    for (answer, word) in [
        ("SSH-2.0-x\r\n", "not siloscand"),
        ("HTTP/1.1 200 OK\r\n\r\n{}", "not siloscand"),
        ("HTTP/1.1 404 Not Found\r\n\r\n", "not siloscand"),
        ("HTTP/1.1 200 OK\r\n\r\n{\"version\": 2}", "own release"),
    ] {
        let own = strangers.try_clone().expect("a listener");
        let stranger = std::thread::spawn(move || {
            let (mut stream, _) = own.accept().expect("a guest");
            let mut request = [0; 512];
            let count = stream.read(&mut request).expect("a request");
            assert!(request[..count].starts_with(b"GET /status HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).expect("it reads");
        });
        let (code, out, errors) = said(&siloscan(&["status", "--address", &address]));
        stranger.join().expect("no panic");
        assert_eq!((code, out.as_str()), (Some(2), ""), "{answer}: {errors}");
        assert!(errors.contains(word), "{answer}: {errors}");
    }
}
