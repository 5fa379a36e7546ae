//! Instants as RFC 3339 text in UTC: `2026-11-23T02:43:19.250Z`. No clock, no time zones.

use nsfl_types::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An instant, written as RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Time(pub Timestamp);

/// Text that is no such instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeError(String);

impl fmt::Display for TimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not a time: YYYY-MM-DDTHH:MM:SS[.mmm]Z is expected", self.0)
    }
}

impl std::error::Error for TimeError {}

const DAY_MS: u64 = 24 * 3600 * 1000;

impl Time {
    /// The time of day alone, to the second: `02:43:19`.
    #[must_use]
    pub fn clock(&self) -> String {
        let seconds = self.0.0 % DAY_MS / 1000;
        format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }

    /// Date and time of day to the second, for tables: `2026-11-23 02:43:19`.
    #[must_use]
    pub fn short(&self) -> String {
        let (year, month, day) = date(self.0.0 / DAY_MS);
        format!("{year:04}-{month:02}-{day:02} {}", self.clock())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.0.0 / DAY_MS);
        write!(f, "{year:04}-{month:02}-{day:02}T{}.{:03}Z", self.clock(), self.0.0 % 1000)
    }
}

impl FromStr for Time {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        parse(text).map(|ms| Self(Timestamp(ms))).ok_or_else(|| TimeError(text.chars().take(40).collect()))
    }
}

impl TryFrom<String> for Time {
    type Error = TimeError;
    fn try_from(text: String) -> Result<Self, TimeError> {
        text.parse()
    }
}

impl From<Time> for String {
    fn from(time: Time) -> String {
        time.to_string()
    }
}

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

fn leap(year: u64) -> bool {
    (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400)
}

fn month_days(year: u64, month: u64) -> u64 {
    match month {
        2 if leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to 1 January of `year`.
fn days_before(year: u64) -> u64 {
    let past = year - 1;
    past * 365 + past / 4 - past / 100 + past / 400 - 719_162
}

/// Year, month, day of the n-th day since 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    let mut year = 1970 + days / 366;
    while days_before(year + 1) <= days {
        year += 1;
    }
    let (mut month, mut rest) = (1, days - days_before(year));
    while rest >= month_days(year, month) {
        rest -= month_days(year, month);
        month += 1;
    }
    (year, month, rest + 1)
}

fn parse(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |s: &str, by: char| s.split(by).map(digits).collect::<Option<Vec<u64>>>();
    let (clock, millis) = match time.split_once('.') {
        Some((clock, m)) if m.len() == 3 => (clock, digits(m)?),
        Some(_) => return None,
        None => (time, 0),
    };
    let [year, month, day] = numbers(date, '-')?[..] else { return None };
    let [hour, minute, second] = numbers(clock, ':')?[..] else { return None };
    let date_ok =
        (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=month_days(year, month)).contains(&day);
    if !date_ok || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_before(year) + (1..month).map(|m| month_days(year, m)).sum::<u64>() + day - 1;
    Some(days * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000 + millis)
}

fn digits(text: &str) -> Option<u64> {
    let plain = (2..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_are_written_as_rfc_3339_and_read_back() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_798_761_600_000, "2027-01-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(Time(Timestamp(ms)).to_string(), text);
            assert_eq!(text.parse::<Time>().unwrap().0.0, ms);
        }
        assert_eq!("2024-02-29T23:59:59Z".parse::<Time>().unwrap().short(), "2024-02-29 23:59:59");
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for bad in ["", "2023-02-29T00:00:00Z", "2024-13-01T00:00:00Z", "2024-01-01T24:00:00Z", "2024-01-01", "x"] {
            assert!(bad.parse::<Time>().is_err(), "{bad:?}");
        }
    }
}
