//! What the service shows of itself while it runs: one document of facts, which is told as JSON to
//! the operator's command and as Prometheus's text to whoever collects metrics.

mod endpoint;
mod exposition;
mod request;
mod status;

pub use endpoint::{Bound, Endpoint, EndpointError, Facts, PATH_METRICS, PATH_STATUS, bind};
pub use exposition::exposition;
pub use status::{
    ContainerStatus, DriverStatus, ExclusionStatus, LoadStatus, MemoryStatus, OutcomeTimes,
    RulesStatus, STATUS_VERSION, Status, WorkersStatus,
};
