//! Values that were checked when they were made, and the readers serde uses to make them. No section of a file lives here.

use figment::value::magic::RelativePathBuf;
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use serde::{Serialize, Serializer};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident($int:ty), $max:expr, $unit:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name($int);

        impl $name {
            /// The greatest value allowed; the least is 1.
            pub const MAX: $int = $max;

            /// `None` unless 1 ≤ `value` ≤ `MAX`.
            #[must_use]
            pub const fn new(value: $int) -> Option<Self> {
                if value >= 1 && value <= Self::MAX { Some(Self(value)) } else { None }
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> $int {
                self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let whole = Whole { unit: $unit, max: u64::from(Self::MAX) };
                let value = d.deserialize_u64(&whole)?;
                let checked = <$int>::try_from(value).ok().and_then(Self::new);
                checked.ok_or_else(|| D::Error::invalid_value(Unexpected::Unsigned(value), &&whole))
            }
        }
    };
}

bounded!(
    /// A length of time in milliseconds: at least 1, at most a year.
    Millis(u64), 366 * 24 * 3600 * 1000, "milliseconds"
);
bounded!(
    /// A size in bytes: at least 1, at most a pebibyte.
    Bytes(u64), 1 << 50, "bytes"
);
bounded!(
    /// A number of things: at least 1, at most a million.
    Count(u32), 1_000_000, "a number"
);

/// Reads a whole number; says its unit and range when it is none.
struct Whole {
    unit: &'static str,
    max: u64,
}

impl Visitor<'_> for &Whole {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from 1 to {}", self.unit, self.max)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
        Ok(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<u64, E> {
        u64::try_from(value).map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
    }
}

impl Millis {
    /// The same length as the standard library says it.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// Builds a default; the number is in range, or the build fails where it is used in a constant.
macro_rules! constant {
    ($type:ty, $value:expr) => {{
        const VALUE: $type = match <$type>::new($value) {
            Some(v) => v,
            None => panic!("a default out of its own range"),
        };
        VALUE
    }};
}
pub(crate) use constant;

/// Where the server's links are: a host name or address, and a port. Names are resolved at each connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    host: String,
    port: u16,
}

impl ServerAddress {
    /// Host name or IP address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port, never 0.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// Text that is no `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an address of a server: host:port is expected, such as server.example.org:8443 or [::1]:8443")]
pub struct AddressError(String);

impl FromStr for ServerAddress {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let bad = || AddressError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse::<u16>().ok().filter(|p| *p != 0).ok_or_else(bad)?;
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let ok = match bracketed {
            Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')),
        };
        if !ok {
            return Err(bad());
        }
        Ok(Self { host: bracketed.unwrap_or(host).to_owned(), port })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Serialize for ServerAddress {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ServerAddress {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

/// What must hold between the values of one section.
pub(crate) trait Check {
    /// The rule that is broken, with the values.
    fn check(&self) -> Result<(), String>;
}

pub(crate) fn section<'de, D: Deserializer<'de>, T: Deserialize<'de> + Check>(d: D) -> Result<T, D::Error> {
    let value = T::deserialize(d)?;
    value.check().map_err(D::Error::custom)?;
    Ok(value)
}

/// `Err` unless `values` rise (or stay level) from left to right.
pub(crate) fn rising(values: &[(&str, Millis)]) -> Result<(), String> {
    match values.windows(2).find(|w| w[0].1 > w[1].1) {
        None => Ok(()),
        Some(w) => Err(format!("{} ({}) must not be above {} ({})", w[0].0, w[0].1.get(), w[1].0, w[1].1.get())),
    }
}

/// A path; a relative one in a file is relative to that file.
pub(crate) fn path<'de, D: Deserializer<'de>>(d: D) -> Result<PathBuf, D::Error> {
    let path = RelativePathBuf::deserialize(d)?;
    if path.original().as_os_str().is_empty() {
        return Err(D::Error::custom("is empty: a path is expected"));
    }
    Ok(path.relative())
}

/// As `path`, in place of no path at all.
pub(crate) fn optional_path<'de, D: Deserializer<'de>>(d: D) -> Result<Option<PathBuf>, D::Error> {
    path(d).map(Some)
}

/// Paths; relative ones in a file are relative to that file.
pub(crate) fn paths<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<PathBuf>, D::Error> {
    let paths = Vec::<RelativePathBuf>::deserialize(d)?;
    if paths.iter().any(|path| path.original().as_os_str().is_empty()) {
        return Err(D::Error::custom("has an empty item: a path is expected"));
    }
    Ok(paths.into_iter().map(|path| path.relative()).collect())
}

pub(crate) fn listen<'de, D: Deserializer<'de>>(d: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(d)?;
    text.parse()
        .map_err(|_| D::Error::custom(format!("'{text}' is no address: ip:port is expected, such as 127.0.0.1:8080")))
}

/// A finite number, 0 or more.
pub(crate) fn amount<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(d)?;
    if value.is_finite() && value >= 0.0 {
        return Ok(value);
    }
    Err(D::Error::invalid_value(Unexpected::Float(value), &"a number of 0 or more"))
}

/// A list with at least one item and none twice.
pub(crate) fn distinct<'de, D, T>(d: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + PartialEq,
{
    let items = Vec::<T>::deserialize(d)?;
    if items.is_empty() {
        return Err(D::Error::invalid_length(0, &"at least one item"));
    }
    if let Some(i) = (1..items.len()).find(|i| items[..*i].contains(&items[*i])) {
        return Err(D::Error::custom(format!("item {} is listed twice", i + 1)));
    }
    Ok(items)
}

/// A name that is safe in a certificate's URI.
pub(crate) fn name<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    let text = String::deserialize(d)?;
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=128).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(safe)
    {
        return Ok(text);
    }
    Err(D::Error::custom(format!(
        "'{text}' is no name: 1 to 128 characters from a-z A-Z 0-9 '.' '_' '-' are expected, a letter or digit first"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_address_is_a_host_and_a_port_and_survives_being_shown() {
        for good in ["localhost:8443", "10.0.0.1:1", "[::1]:8443", "fl-1.example.org:65535"] {
            assert_eq!(good.parse::<ServerAddress>().unwrap().to_string(), good);
        }
        assert_eq!("[::1]:8443".parse::<ServerAddress>().unwrap().host(), "::1");
        for bad in ["", "host", "host:", ":1", "host:0", "host:65536", "https://host:1", "::1:8443", "a b:1", "[x]:1"] {
            assert!(bad.parse::<ServerAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bounded_number_holds_its_bounds() {
        assert_eq!(Count::new(0), None);
        assert_eq!(Count::new(1).map(Count::get), Some(1));
        assert_eq!(Bytes::new(Bytes::MAX + 1), None);
        assert_eq!(Millis::new(1500).map(Millis::duration), Some(Duration::from_secs_f64(1.5)));
    }

    #[test]
    fn times_that_do_not_rise_are_named_with_their_values() {
        let ms = |v| Millis::new(v).unwrap();
        assert_eq!(rising(&[("a", ms(1)), ("b", ms(1)), ("c", ms(2))]), Ok(()));
        assert_eq!(
            rising(&[("a", ms(1)), ("b", ms(3)), ("c", ms(2))]),
            Err("b (3) must not be above c (2)".to_owned())
        );
    }
}
