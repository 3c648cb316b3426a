//! Who may use whom among the workspace's crates.

use std::path::Path;

use serde_json::Value;

use super::Lists;
use crate::command;
use crate::trouble::{Outcome, Trouble};

/// Edges that are not allowed, and allowed ones that are not there.
pub fn check(root: &Path, lists: &Lists) -> Outcome<Vec<String>> {
    let own = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = command::clean(own);
    cargo.current_dir(root);
    cargo.args(["metadata", "--locked", "--no-deps", "--format-version", "1"]);
    let text = command::output(&mut cargo)?;
    let metadata: Value = serde_json::from_str(&text)
        .map_err(|e| Trouble::new(format!("cargo metadata is not JSON: {e}")))?;
    Ok(compare(&edges(&metadata), &lists.edges))
}

/// `user -> used` of each dependency on a path; of tests `user (tests) -> used`.
fn edges(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let mut edges = Vec::new();
    for package in packages {
        let user = package["name"].as_str().unwrap_or_default();
        let dependencies = package["dependencies"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        for used in dependencies.iter().filter(|used| used["path"].is_string()) {
            let tests = if used["kind"] == "dev" {
                " (tests)"
            } else {
                ""
            };
            edges.push(format!(
                "{user}{tests} -> {}",
                used["name"].as_str().unwrap_or_default()
            ));
        }
    }
    edges.sort();
    edges.dedup();
    edges
}

fn compare(there: &[String], allowed: &[String]) -> Vec<String> {
    let refused = there.iter().filter(|edge| !allowed.contains(edge));
    refused
        .map(|edge| format!("the edge {edge} is not in tests/tidy.toml"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_upwards_is_refused() {
        let metadata = serde_json::json!({"packages": [
            {"name": "core", "dependencies": [
                {"name": "host", "path": "/x", "kind": null},
                {"name": "serde", "kind": null},
                {"name": "worlds", "path": "/y", "kind": "dev"}]}]});
        let there = edges(&metadata);
        assert_eq!(there, ["core (tests) -> worlds", "core -> host"]);
        let broken = compare(&there, &["core -> host".to_owned()]);
        assert_eq!(
            broken,
            ["the edge core (tests) -> worlds is not in tests/tidy.toml"]
        );
    }
}
