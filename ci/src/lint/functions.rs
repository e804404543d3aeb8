//! Length of functions, in Rust as rustfmt writes it and C as clang-format does.
//! Tests are left out: their rows are data.

use std::path::Path;

const TOO_LONG: usize = 60;

pub fn faults(file: &Path, text: &str) -> Vec<String> {
    let functions = match file.extension().and_then(|ext| ext.to_str()) {
        Some("rs") if !is_test(file) => rust(text),
        Some("c" | "h") => c(text),
        _ => Vec::new(),
    };
    let long = functions
        .iter()
        .filter(|function| function.lines > TOO_LONG);
    long.map(|function| {
        format!(
            "{}:{}: `{}` has {} lines, more than {TOO_LONG}",
            file.display(),
            function.at,
            function.head,
            function.lines
        )
    })
    .collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Function<'a> {
    /// Line number of its head.
    at: usize,
    head: &'a str,
    lines: usize,
}

fn is_test(file: &Path) -> bool {
    file.ends_with("tests.rs") || file.iter().any(|part| part == "tests")
}

fn rust(text: &str) -> Vec<Function<'_>> {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines: Vec<&str> = text[..end].lines().collect();
    let heads = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| is_rust_head(line));
    heads
        .filter_map(|(start, line)| {
            let indent = &line[..line.len() - line.trim_start().len()];
            function(&lines, start, &format!("{indent}}}"), &format!("{indent};"))
        })
        .collect()
}

fn is_rust_head(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.any(|word| word == "fn")
        && line.split("fn ").next().is_some_and(|before| {
            before.split_whitespace().all(|word| {
                matches!(word, "const" | "async" | "unsafe" | "extern" | "\"C\"")
                    || word.starts_with("pub")
            })
        })
}

fn c(text: &str) -> Vec<Function<'_>> {
    let lines: Vec<&str> = text.lines().collect();
    let bodies = lines.iter().enumerate().filter(|(_, line)| **line == "{");
    bodies
        .filter_map(|(start, _)| function(&lines, start.saturating_sub(1), "}", ";"))
        .collect()
}

/// From the head to the closing brace at the head's indentation; a head that
/// ends without a body is none.
fn function<'a>(lines: &[&'a str], start: usize, close: &str, end: &str) -> Option<Function<'a>> {
    let ends = |line: &&str| **line == *close || line.starts_with(end) || is_whole(line);
    let body = &lines[start..];
    let n_lines = body.iter().position(ends)? + 1;
    (*body[n_lines - 1] == *close).then_some(Function {
        at: start + 1,
        head: lines[start].trim(),
        lines: n_lines,
    })
}

/// A declaration, or a function on one line.
fn is_whole(line: &str) -> bool {
    is_rust_head(line) && (line.ends_with(';') || line.ends_with('}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_measured_from_head_to_closing_brace() {
        let rust_text = "impl A {\n    pub fn a() {\n        b();\n    }\n\n    fn c();\n    fn d() {}\n}\n\npub(crate) fn e(\n    f: u8,\n) {\n}\n";
        let found: Vec<_> = rust(rust_text).iter().map(|f| (f.at, f.lines)).collect();
        assert_eq!(found, [(2, 3), (10, 4)]);
        let found: Vec<_> = c("static int\na(void)\n{\n\treturn 1;\n}\n")
            .iter()
            .map(|f| (f.at, f.lines))
            .collect();
        assert_eq!(found, [(2, 4)]);
    }

    #[test]
    fn only_long_functions_outside_of_tests_are_faults() {
        let long = format!("fn a() {{\n{}}}\n", "    b();\n".repeat(TOO_LONG));
        let in_tests = format!("#[cfg(test)]\nmod tests {{\n{long}}}\n");
        let rows = [
            ("short", "src/a.rs", "fn a() {\n}\n", 0),
            ("long", "src/a.rs", long.as_str(), 1),
            ("long in a test file", "tests/a.rs", long.as_str(), 0),
            ("long in a test module", "src/a.rs", in_tests.as_str(), 0),
        ];
        for (row, file, text, expected) in rows {
            assert_eq!(faults(Path::new(file), text).len(), expected, "{row}");
        }
    }
}
