//! Where the fleet's Redis is: `redis://[[user]:password@]host[:port][/database]`.

use std::fmt;

const PORT: u16 = 6379;

/// The address of a Redis, with what it takes to be let in. Shown without that.
#[derive(Clone, PartialEq, Eq)]
pub struct FleetUrl {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) database: u32,
}

/// Why an address is none. Does not repeat it: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the fleet's address {0}; it reads redis://[[user]:password@]host[:port][/database], with \
     %XX for what is special in user or password"
)]
pub struct UrlError(&'static str);

impl std::str::FromStr for FleetUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let rest = text
            .strip_prefix("redis://")
            .ok_or(UrlError("does not begin with redis://"))?;
        let (who, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (place, database) = place.split_once('/').unwrap_or((place, ""));
        let database = match database {
            "" => 0,
            number => number
                .parse()
                .map_err(|_| UrlError("has no number as database"))?,
        };
        let (user, password) = match who.split_once(':') {
            Some((user, password)) => (decoded(user)?, decoded(password)?),
            None if who.is_empty() => Default::default(),
            None => return Err(UrlError("has a user and no password")),
        };
        if !user.is_empty() && password.is_empty() {
            return Err(UrlError("has a user and no password"));
        }
        let (host, port) = host_and_port(place)?;
        Ok(Self {
            host,
            port,
            user,
            password,
            database,
        })
    }
}

fn host_and_port(place: &str) -> Result<(String, u16), UrlError> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest
                .split_once(']')
                .ok_or(UrlError("has no ] after its host"))?;
            (host, after.strip_prefix(':'))
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    if host.is_empty() {
        return Err(UrlError("has no host"));
    }
    let port = match port {
        Some(port) => port
            .parse()
            .map_err(|_| UrlError("has no number as port"))?,
        None => PORT,
    };
    Ok((host.to_owned(), port))
}

fn decoded(text: &str) -> Result<String, UrlError> {
    const WRONG: UrlError = UrlError("has a % that is not followed by two hexadecimal digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| (digit as char).to_digit(16));
        let value = digit().zip(digit()).ok_or(WRONG)?;
        bytes.push(u8::try_from(value.0 * 16 + value.1).map_err(|_| WRONG)?);
    }
    String::from_utf8(bytes).map_err(|_| UrlError("has a user or password that is not UTF-8"))
}

impl fmt::Display for FleetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "redis at {} port {}", self.host, self.port)
    }
}

impl fmt::Debug for FleetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FleetUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<FleetUrl, UrlError> {
        text.parse()
    }

    #[test]
    fn an_address_is_taken_apart() {
        let url = |host: &str, port, user: &str, password: &str, database| FleetUrl {
            host: host.to_owned(),
            port,
            user: user.to_owned(),
            password: password.to_owned(),
            database,
        };
        let cases = [
            ("redis://h", url("h", 6379, "", "", 0)),
            ("redis://h:1/", url("h", 1, "", "", 0)),
            ("redis://:p@h/3", url("h", 6379, "", "p", 3)),
            ("redis://u:p%40%3a:@h:7", url("h", 7, "u", "p@::", 0)),
            ("redis://u:a@b@[::1]:7", url("::1", 7, "u", "a@b", 0)),
            ("redis://[::1]", url("::1", 6379, "", "", 0)),
        ];
        for (text, expected) in cases {
            assert!(read(text) == Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused_and_no_password_is_shown() {
        let bad = [
            "rediss://:pass@h",
            "h:6379",
            "redis://",
            "redis://:pass@",
            "redis://u@h",
            "redis://u:@h",
            "redis://:pass%4@h",
            "redis://:pass%zz@h",
            "redis://:pass%ff@h",
            "redis://:pass@h:port",
            "redis://:pass@h:99999",
            "redis://:pass@h/x",
            "redis://:pass@[::1",
        ];
        for text in bad {
            let error = read(text).expect_err(text);
            assert!(!error.to_string().contains("pass@"), "{error}");
        }
        let url = read("redis://someone:pass@h").expect("an address");
        let shown = format!("{url} {url:?}");
        assert!(
            !shown.contains("pass") && !shown.contains("someone"),
            "{shown}"
        );
    }
}
