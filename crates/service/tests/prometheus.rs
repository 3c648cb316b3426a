//! The metrics, the dashboard and the alerts, judged by Debian's `promtool` and read by a real
//! Prometheus.
#![cfg(unix)]

#[expect(dead_code, reason = "what this test needs of it is a part")]
mod driver_side;
mod observed;

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use observed::{CONTAINER, Observed, ask, grafana, observed, queries};
use siloscan_core::wire::WireVerdict;
use siloscan_service::engine::eicar_test_file;

fn promtool(arguments: &[&str], input: &[u8]) -> Output {
    let child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("promtool starts; install prometheus");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input).expect("it reads");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// It ended well and had nothing to say against it.
fn content(output: &Output) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && errors.is_empty(),
        "{errors}{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
#[ignore = "needs Debian's prometheus: cargo xtask test --only unit"]
fn promtool_finds_nothing_wrong() {
    let observed = observed();
    let (_, text) = observed.get("/metrics");
    content(&promtool(&["check", "metrics"], text.as_bytes()));
    // It does look.
    let bad = text.replace("siloscan_scans_total", "siloscan_scans");
    assert!(
        !promtool(&["check", "metrics"], bad.as_bytes())
            .status
            .success()
    );
    let alerts = grafana().join("alerts.yml");
    content(&promtool(
        &["check", "rules", &alerts.display().to_string()],
        b"",
    ));
    observed.finish();
}

/// A Prometheus with a folder of its own.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    fn start(target: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = format!(
            "global:\n  scrape_interval: 3s\n  scrape_timeout: 3s\n  evaluation_interval: 1s\n\
             rule_files: [{:?}]\nscrape_configs:\n  - job_name: siloscan\n    \
             static_configs: [{{targets: [\"{target}\"]}}]\n",
            fs::canonicalize(grafana().join("alerts.yml")).expect("the alerts"),
        );
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, settings).expect("written");
        // Free just now, and the system gives ports anew only after many others.
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("its address");
        drop(free);
        let child = start(&file, folder.path(), address);
        let mut own = Self {
            child,
            address,
            _folder: folder,
        };
        while !own.is_ready() {
            let ended = own.child.try_wait().expect("a child");
            assert_eq!(ended, None, "prometheus ended");
            std::thread::sleep(Duration::from_millis(50));
        }
        own
    }

    /// It listens before it can answer.
    fn is_ready(&self) -> bool {
        let request = format!("GET /-/ready HTTP/1.0\r\nHost: {}\r\n\r\n", self.address);
        TcpStream::connect(self.address).is_ok()
            && ask(self.address, request.as_bytes()).0.contains(" 200 ")
    }

    /// The answer to a query, which must be one that it understands.
    fn query(&self, query: &str) -> Vec<serde_json::Value> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let request = format!(
            "GET /api/v1/query?query={escaped} HTTP/1.0\r\nHost: {}\r\n\r\n",
            self.address
        );
        let data = self.get(&request);
        data["result"].as_array().expect("a vector").clone()
    }

    /// The data of a good answer.
    fn get(&self, request: &str) -> serde_json::Value {
        let (_, body) = ask(self.address, request.as_bytes());
        let mut answer: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(answer["status"], "success", "{request}: {answer}");
        answer["data"].take()
    }

    /// Every rule and its health.
    fn rules(&self) -> Vec<(String, String)> {
        let request = format!(
            "GET /api/v1/rules HTTP/1.0\r\nHost: {}\r\n\r\n",
            self.address
        );
        let data = self.get(&request);
        let rules = data["groups"][0]["rules"].as_array().expect("rules");
        let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
        let rules = rules.iter();
        rules
            .map(|rule| (text(&rule["name"]), text(&rule["health"])))
            .collect()
    }
}

fn start(file: &Path, folder: &Path, address: SocketAddr) -> Child {
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.join("data").display()
        ))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    child.expect("prometheus starts; install it")
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

#[test]
#[ignore = "needs Debian's prometheus: cargo xtask test --only unit"]
fn a_real_prometheus_understands_every_query_of_the_dashboard() {
    let observed = observed();
    let prometheus = Prometheus::start(observed.endpoint.address());
    // Rates need two samples, and what a rate is of must have been there before.
    while prometheus
        .query("count_over_time(siloscan_connected[1m]) >= 3")
        .is_empty()
    {
        std::thread::sleep(Duration::from_millis(100));
    }
    let up = prometheus.query("max_over_time(up{job=\"siloscan\"}[1m])");
    assert_eq!(up[0]["value"][1], "1", "{up:?}");
    let clean = prometheus.query("siloscan_scans_total{outcome=\"clean\"}");
    assert_eq!(clean[0]["value"][1], "3", "{clean:?}");
    for query in queries() {
        let query = query
            .replace("$instance", ".*")
            .replace("$__rate_interval", "1m");
        let answer = prometheus.query(&query);
        // What is shown only when it is not zero may be empty.
        assert!(
            query.ends_with("> 0") || !answer.is_empty(),
            "{query}: nothing"
        );
    }
    let tax = prometheus.query("siloscan_container_start_tax_seconds_total");
    assert_eq!(tax[0]["metric"]["container"], CONTAINER);
    assert_eq!(tax[0]["value"][1], "0.25");
    alerts_are_well(&observed, &prometheus);
    drop(prometheus);
    observed.finish();
}

/// Each alert can be evaluated, none is on its way while all is well, and one comes when it should.
fn alerts_are_well(observed: &Observed, prometheus: &Prometheus) {
    let driver = &observed.running.driver;
    let rules = driver.wait(|| {
        let rules = prometheus.rules();
        let all = rules.iter().all(|(_, health)| health != "unknown");
        all.then_some(rules)
    });
    assert!(rules.len() >= 10, "{rules:?}");
    assert!(rules.iter().all(|(_, health)| health == "ok"), "{rules:?}");
    let alerts = prometheus.query("ALERTS{alertstate=\"firing\"}");
    assert!(alerts.is_empty(), "{alerts:?}");
    let found = observed.verdict(&eicar_test_file());
    assert_eq!(found, WireVerdict::INFECTED);
    let firing = "ALERTS{alertname=\"SiloscanInfected\", alertstate=\"firing\"}";
    driver.wait(|| (!prometheus.query(firing).is_empty()).then_some(()));
}
