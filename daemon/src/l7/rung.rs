//! On which rung of the L7 ladder a Service is, and why not on a lower one.
//! Pure: what is known of its routes and rules in, words out.

use terrace_mesh::HttpRule;

/// What the L7 tier must decide for a Service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// Rules of routes that choose a backend by the request.
    pub routes: usize,
    /// HTTP rules of policies on its backends.
    pub http_rules: usize,
    /// One of these looks at more than the method and a plain path.
    pub looks_deeper: bool,
}

/// The lowest rung that can enforce the needs. The worker that holds a request
/// binds late as well, so there is no rung between the kernel and the splice
/// that costs less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    pub name: &'static str,
    pub why: String,
    /// Why the kernel does not decide alone.
    pub not_in_kernel: &'static str,
}

/// `None` = nothing of L7: no worker sees the Service.
pub fn rung(needs: &Needs) -> Option<Rung> {
    let counted = |n: usize, what: &str| match n {
        0 => None,
        1 => Some(format!("1 {what}")),
        n => Some(format!("{n} {what}s")),
    };
    let parts = [
        counted(needs.routes, "route rule"),
        counted(needs.http_rules, "HTTP rule"),
    ];
    let why: Vec<String> = parts.into_iter().flatten().collect();
    if why.is_empty() {
        return None;
    }
    Some(Rung {
        name: "splice",
        why: why.join(" and "),
        not_in_kernel: match needs {
            Needs { routes: 1.., .. } => "the backend depends on the request",
            Needs {
                looks_deeper: true, ..
            } => "a rule looks at more than method and plain path",
            _ => "the programs of this version match no requests",
        },
    })
}

/// Whether a rule looks at more than the method and an exact or prefix path.
pub fn looks_deeper(rule: &HttpRule) -> bool {
    const PLAIN: &str = "-_/~%=&,:@";
    let plain = |text: &str| {
        let text = text.strip_suffix(".*").unwrap_or(text);
        text.chars()
            .all(|c| c.is_ascii_alphanumeric() || PLAIN.contains(c))
    };
    let path = rule.path.as_deref().unwrap_or_default();
    let method = rule.method.as_deref().unwrap_or_default();
    let methods = method
        .split('|')
        .all(|m| m.chars().all(|c| c.is_ascii_alphabetic()));
    rule.host.is_some() || !rule.headers.is_empty() || !plain(path) || !methods
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_on_the_lowest_rung_that_can_enforce_it() {
        let needs = |routes, http_rules, looks_deeper| Needs {
            routes,
            http_rules,
            looks_deeper,
        };
        let rows = [
            ("nothing", needs(0, 0, false), None),
            (
                "routes",
                needs(2, 0, false),
                Some("2 route rules: the backend"),
            ),
            (
                "plain rules",
                needs(0, 1, false),
                Some("1 HTTP rule: the programs"),
            ),
            (
                "deep rules",
                needs(0, 3, true),
                Some("3 HTTP rules: a rule looks"),
            ),
            (
                "both",
                needs(1, 1, true),
                Some("1 route rule and 1 HTTP rule: the backend"),
            ),
        ];
        for (name, needs, expected) in rows {
            let text = rung(&needs).map(|rung| format!("{}: {}", rung.why, rung.not_in_kernel));
            let agrees = match (&text, expected) {
                (None, None) => true,
                (Some(text), Some(start)) => text.starts_with(start),
                _ => false,
            };
            assert!(agrees, "{name}: {text:?}");
        }
    }

    #[test]
    fn a_rule_of_method_and_plain_path_does_not_look_deeper() {
        let rows = [
            (Some("GET"), Some("/a"), false),
            (Some("GET|POST"), Some("/a/.*"), false),
            (None, None, false),
            (Some("G.T"), None, true),
            (None, Some("/a[0-9]"), true),
            (None, Some("/a.*/b"), true),
        ];
        for (method, path, expected) in rows {
            let rule = HttpRule {
                method: method.map(str::to_owned),
                path: path.map(str::to_owned),
                host: None,
                headers: Vec::new(),
                line: 0,
            };
            assert_eq!(looks_deeper(&rule), expected, "{method:?} {path:?}");
        }
    }
}
