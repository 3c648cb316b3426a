//! A whole container host built from the filter host and the service.
