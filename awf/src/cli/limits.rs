//! Numbers: sizes, processors, processes, minutes.
//!
//! Owns their notation. Takes text, gives numbers with a unit. Must never ask what the machine has.

use std::time::Duration;

use super::usage::UsageError;

/// Largest `--pids-limit`: the largest integer that the original's number type holds exactly. Above
/// 4,194,304 (`PID_MAX_LIMIT`, linux/threads.h) a limit does not limit.
pub const MAX_PIDS: u64 = (1 << 53) - 1;

/// A share of the machine's processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuLimit {
    /// Thousandths of one processor, at least 10: the kernel's smallest quota is 1 ms in its period
    /// of 100 ms (`min_cfs_quota_period`, kernel/sched/core.c).
    pub millicpus: u32,
}

/// `--memory-limit` in bytes: digits and one of b, k, m, g.
pub(super) fn memory(text: &str) -> Result<u64, UsageError> {
    let refuse = |problem: &str| {
        let remedy = "write a number and b, k, m or g, such as 512m or 6g";
        UsageError::value("--memory-limit", text, problem, remedy)
    };
    let unit = match text.chars().last().map(|unit| unit.to_ascii_lowercase()) {
        Some('b') => 1,
        Some('k') => 1 << 10,
        Some('m') => 1 << 20,
        Some('g') => 1 << 30,
        _ => return Err(refuse("a size needs a unit")),
    };
    let amount = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
    if !is_digits(amount) {
        return Err(refuse("not a whole number with one unit"));
    }
    let bytes = amount.parse::<u64>().ok().and_then(|amount| amount.checked_mul(unit));
    match bytes {
        Some(0) => Err(refuse("no program can run without memory")),
        Some(bytes) => Ok(bytes),
        None => Err(refuse("larger than any machine")),
    }
}

/// `--cpu-limit`: a decimal number of processors, at most three decimals.
pub(super) fn cpus(text: &str) -> Result<CpuLimit, UsageError> {
    let refuse = |problem: &str| {
        UsageError::value(
            "--cpu-limit",
            text,
            problem,
            "write a number of processors, such as 2 or 1.5",
        )
    };
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{decimals}");
    if !is_digits(&digits) {
        return Err(refuse("not a decimal number"));
    }
    if decimals.len() > 3 {
        return Err(refuse("more than three decimals"));
    }
    match format!("{whole}{decimals:0<3}").parse::<u32>() {
        Ok(0..10) => Err(refuse("less than the kernel can measure out, 0.01")),
        Ok(millicpus) => Ok(CpuLimit { millicpus }),
        Err(_) => Err(refuse("more than any machine has")),
    }
}

/// `--pids-limit`.
pub(super) fn pids(text: &str) -> Result<u64, UsageError> {
    let number = is_digits(text).then(|| text.parse().ok()).flatten();
    number.filter(|number| (1..=MAX_PIDS).contains(number)).ok_or_else(|| {
        let remedy = "write how many processes and threads the command may have, such as 1000";
        UsageError::value(
            "--pids-limit",
            text,
            format!("not a number from 1 to {MAX_PIDS}"),
            remedy,
        )
    })
}

/// `--agent-timeout`.
pub(super) fn timeout(text: &str) -> Result<Duration, UsageError> {
    let refuse = |problem: &str| {
        UsageError::value("--agent-timeout", text, problem, "write whole minutes, such as 30")
    };
    if !is_digits(text) || text.starts_with('0') {
        return Err(refuse("not a positive integer (minutes)"));
    }
    // 32 bits of minutes are eight thousand years, and no clock overflows by adding them.
    let minutes: u32 = text.parse().map_err(|_overflow| refuse("longer than anybody waits"))?;
    Ok(Duration::from_mins(u64::from(minutes)))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_sizes() {
        for (text, bytes) in [
            ("4g", 4 << 30),
            ("512m", 512 << 20),
            ("4G", 4 << 30),
            ("100b", 100),
            ("10k", 10 << 10),
            ("6g", 6 << 30),
            ("007k", 7 << 10),
        ] {
            assert_eq!(memory(text).unwrap(), bytes, "{text}");
        }
        for text in [
            "1024",
            "4gb",
            "1.5g",
            "0g",
            "1t",
            "",
            "g",
            "-1g",
            "+1g",
            " 1g",
            "1 g",
            "1g ",
            "é",
            "1é",
            "99999999999999999999g",
            "18446744073709551615k",
        ] {
            let sentence = memory(text).unwrap_err().to_string();
            assert!(sentence.starts_with(&format!("--memory-limit '{text}': ")), "{sentence}");
            assert!(sentence.contains("512m"));
        }
    }

    #[test]
    fn processor_shares() {
        for (text, millicpus) in [
            ("1", 1000),
            ("1.5", 1500),
            (".5", 500),
            ("2.", 2000),
            ("0.01", 10),
            ("0.125", 125),
            ("64", 64_000),
        ] {
            assert_eq!(cpus(text).unwrap(), CpuLimit { millicpus }, "{text}");
        }
        for text in [
            "",
            ".",
            "0",
            "0.0",
            "0.009",
            "-1",
            "1,5",
            "1.2.3",
            "1e3",
            "1.2345",
            "inf",
            "99999999999",
        ] {
            assert!(cpus(text).is_err(), "{text}");
        }
    }

    #[test]
    fn process_counts() {
        assert_eq!(pids("1000").unwrap(), 1000);
        assert_eq!(pids("1").unwrap(), 1);
        assert_eq!(pids("9007199254740991").unwrap(), MAX_PIDS);
        for text in ["", "0", "-1", "1.5", "1e3", "0x10", "9007199254740992", "ten", "+5"] {
            assert!(pids(text).is_err(), "{text}");
        }
    }

    #[test]
    fn timeouts_are_minutes() {
        assert_eq!(timeout("1").unwrap(), Duration::from_mins(1));
        assert_eq!(timeout("30").unwrap(), Duration::from_mins(30));
        for text in ["", "0", "05", "-5", "1.5", "5m", "99999999999"] {
            assert!(timeout(text).is_err(), "{text}");
        }
        let sentence = timeout("0").unwrap_err().to_string();
        assert!(sentence.contains("positive integer (minutes)"), "{sentence}");
    }
}
