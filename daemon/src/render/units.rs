//! Numbers for people: at most four digits and a unit.

/// `999`, `12,345`, `1.23 M`: exact below a million.
pub fn count(n: u64) -> String {
    match n {
        0..1_000_000 => grouped(n),
        _ => scaled(n, &["", "k", "M", "G", "T", "P", "E"]),
    }
}

/// Powers of ten: `999 B`, `1.23 kB`, `45.6 MB`.
pub fn bytes(n: u64) -> String {
    match n {
        0..1000 => format!("{n} B"),
        _ => scaled(n, &["B", "kB", "MB", "GB", "TB", "PB", "EB"]),
    }
}

/// `12ms`, `3.4s`, `5m 6s`, `2h 3m`, `4d 5h`.
pub fn duration_ms(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0 => format!("{ms}ms"),
        1..10 => format!("{}.{}s", s, ms % 1000 / 100),
        10..60 => format!("{s}s"),
        60..3600 => format!("{}m {}s", s / 60, s % 60),
        3600..86_400 => format!("{}h {}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d {}h", s / 86_400, s % 86_400 / 3600),
    }
}

/// `50.0 %` of a part in a whole.
pub fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".into(),
        // Tables have less than 2^32 entries: exact in f64.
        _ => format!("{:.1} %", part as f64 * 100.0 / whole as f64),
    }
}

/// One noun or several: `1 flow`, `2 flows`.
pub fn plural(n: usize, noun: &str) -> String {
    let ending = match noun.strip_suffix('y') {
        _ if n == 1 => return format!("1 {noun}"),
        Some(stem) => format!("{stem}ies"),
        None if noun.ends_with(['s', 'x']) => format!("{noun}es"),
        None => format!("{noun}s"),
    };
    format!("{} {ending}", count(n as u64))
}

fn grouped(n: u64) -> String {
    match n {
        0..1000 => n.to_string(),
        _ => format!("{},{:03}", grouped(n / 1000), n % 1000),
    }
}

/// Three digits, as `1.23 M`.
fn scaled(n: u64, units: &[&str]) -> String {
    let mut value = n as f64;
    let mut unit = 0;
    // 999.5 would round up to a fourth digit.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_exact_below_a_million() {
        let rows = [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (999_999, "999,999"),
            (1_000_000, "1.00 M"),
            (999_499_999, "999 M"),
            (999_500_000, "1.00 G"),
            (u64::MAX, "18.4 E"),
        ];
        for (n, text) in rows {
            assert_eq!(count(n), text, "{n}");
        }
    }

    #[test]
    fn bytes_have_three_digits() {
        let rows = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (9_994, "9.99 kB"),
            (9_996, "10.0 kB"),
            (123_456_789, "123 MB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (n, text) in rows {
            assert_eq!(bytes(n), text, "{n}");
        }
    }

    #[test]
    fn durations_have_two_units() {
        let rows = [
            (0, "0ms"),
            (999, "999ms"),
            (3_456, "3.4s"),
            (59_999, "59s"),
            (306_000, "5m 6s"),
            (7_380_000, "2h 3m"),
            (363_600_000, "4d 5h"),
        ];
        for (ms, text) in rows {
            assert_eq!(duration_ms(ms), text, "{ms}");
        }
    }

    #[test]
    fn nouns_agree_with_their_number() {
        let rows = [
            (0, "flow", "0 flows"),
            (1, "policy", "1 policy"),
            (2, "policy", "2 policies"),
        ];
        for (n, noun, text) in rows {
            assert_eq!(plural(n, noun), text);
        }
    }
}
