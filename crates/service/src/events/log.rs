//! The same records as log lines, for people who watch the service.

use super::Event;

/// Writes a log line.
pub(super) fn line(event: &Event) {
    match event {
        Event::Detection {
            rule, scan, action, ..
        } => tracing::warn!(
            rule,
            ?action,
            path = scan.path,
            container = scan.container.as_deref().unwrap_or("-"),
            process = scan.process,
            "detected"
        ),
        Event::Allowed { .. }
        | Event::Quarantined { .. }
        | Event::NotQuarantined { .. }
        | Event::LayerDetection { .. } => log_follow_up(event),
        Event::Unscannable { cause, scan } => tracing::warn!(
            cause,
            path = scan.path,
            container = scan.container.as_deref().unwrap_or("-"),
            "not scanned"
        ),
        Event::Killer { sha256, scan } => tracing::error!(
            sha256,
            path = scan.path,
            container = scan.container.as_deref().unwrap_or("-"),
            "ended workers; not scanned until the next signatures"
        ),
        Event::Rules { digest, rules } => tracing::info!(rules, digest, "rule set in use"),
        Event::BrokenRules { cause }
        | Event::BrokenVerdicts { cause }
        | Event::BrokenExclusions { cause }
        | Event::BrokenConfiguration { cause } => tracing::error!("{cause}"),
        Event::Exclusions {
            containers,
            images,
            layers,
            files,
        } => tracing::info!(containers, images, layers, files, "excluded"),
        Event::Configuration {
            now,
            at_the_next_start,
        } => tracing::info!(?now, ?at_the_next_start, "configured anew"),
        Event::ContainerImage {
            container, image, ..
        } => tracing::info!(container, image, "a container's image"),
        Event::ExclusionHits { kind, name, hits } => {
            tracing::info!(kind, name, hits, "opens that an exclusion let through");
        }
        Event::Connected => tracing::info!("connected to the driver"),
        Event::Disconnected { cause } => tracing::warn!(cause, "disconnected from the driver"),
        Event::BadMessage { cause, bytes } => tracing::warn!(cause, bytes, "bad message"),
        Event::WarmWanted { epoch } => tracing::info!(epoch, "a proactive scan is wanted"),
        Event::ProactiveBegun { .. }
        | Event::ProactiveLayer { .. }
        | Event::ProactivePaused { .. }
        | Event::ProactiveDone { .. } => log_proactive(event),
        Event::BrokenLayers { cause } => tracing::error!("{cause}"),
        Event::Summary(figures) => tracing::info!(?figures, "finished"),
        Event::Verdicts(figures) => tracing::info!(?figures, "verdicts that are kept"),
        Event::DriverCounts { counts } => tracing::debug!(?counts, "the driver's counters"),
        Event::Container { .. } => log_container(event),
    }
}

/// What scanning cost a container.
fn log_container(event: &Event) {
    if let Event::Container {
        container,
        opens,
        denied,
        start_opens,
        start_waited_us,
        ..
    } = event
    {
        tracing::info!(
            container,
            opens,
            denied,
            start_opens,
            start_waited_us,
            "what a container's start cost"
        );
    }
}

/// What followed a detection.
fn log_follow_up(event: &Event) {
    match event {
        Event::Allowed { sha256, rule, scan } => {
            tracing::info!(sha256, rule, path = scan.path, "allowed");
        }
        Event::Quarantined { item, rule, scan } => {
            tracing::warn!(item, rule, path = scan.path, "in the quarantine");
        }
        Event::NotQuarantined {
            cause, rule, scan, ..
        } => {
            tracing::error!(cause, rule, path = scan.path, "not in the quarantine");
        }
        Event::LayerDetection {
            found, rule, scan, ..
        } => tracing::error!(
            rule,
            path = scan.path,
            layer = found.layer.as_deref().unwrap_or("-"),
            images = ?found.images,
            containers = ?found.containers,
            "detected in a layer; rebuild the image"
        ),
        _ => {}
    }
}

fn log_proactive(event: &Event) {
    match event {
        Event::ProactiveBegun { layers, .. } => {
            tracing::info!(layers, "a proactive scan begins");
        }
        Event::ProactiveLayer {
            folder,
            opened,
            infected,
            failed,
            ..
        } => tracing::info!(folder, opened, infected, failed, "a layer was scanned"),
        Event::ProactivePaused { cause, .. } => tracing::info!(cause, "a proactive scan pauses"),
        Event::ProactiveDone {
            covered, causes, ..
        } => tracing::info!(covered, ?causes, "a proactive scan has ended"),
        _ => {}
    }
}
