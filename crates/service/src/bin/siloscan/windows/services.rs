//! Services, as the service controller knows them. Not yet run on Windows.

use windows_service::Error;
use windows_service::service::{ServiceAccess, ServiceState};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};
use windows_sys::Win32::Foundation::ERROR_SERVICE_DOES_NOT_EXIST;

/// One service.
pub struct Service {
    /// It runs now.
    pub running: bool,
    /// What it does, in words.
    pub state: String,
    /// As whom; nothing for a driver.
    pub account: Option<String>,
}

/// A service by its name; nothing if there is none.
pub fn service(name: &str) -> Result<Option<Service>, String> {
    let text = |cause: Error| match cause {
        Error::Winapi(cause) => cause.to_string(),
        other => other.to_string(),
    };
    let manager = ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT);
    let rights = ServiceAccess::QUERY_STATUS | ServiceAccess::QUERY_CONFIG;
    let service = match manager.map_err(text)?.open_service(name, rights) {
        Err(Error::Winapi(cause))
            if cause.raw_os_error() == Some(ERROR_SERVICE_DOES_NOT_EXIST.cast_signed()) =>
        {
            return Ok(None);
        }
        service => service.map_err(text)?,
    };
    let status = service.query_status().map_err(text)?;
    let config = service.query_config().map_err(text)?;
    let account = config
        .account_name
        .map(|name| name.to_string_lossy().into_owned());
    Ok(Some(Service {
        running: status.current_state == ServiceState::Running,
        state: format!("{:?}", status.current_state).to_lowercase(),
        account: account.filter(|name| !name.is_empty()),
    }))
}
