//! Unsafe code stands only in the files that ARCHITECTURE.md lists.

use crate::{shell, workspace};
use anyhow::Result;
use std::collections::BTreeSet;
use std::path::PathBuf;

const LIST: &str = "ARCHITECTURE.md";

/// In halves, so that this file is not one of them.
const FORMS: [&str; 6] = [
    concat!("un", "safe {"),
    concat!("un", "safe fn"),
    concat!("un", "safe impl"),
    concat!("un", "safe trait"),
    concat!("un", "safe extern"),
    concat!("un", "safe("),
];

pub fn faults(files: &[PathBuf]) -> Result<Vec<String>> {
    let path = workspace::root().join(LIST);
    let listed = if path.exists() {
        listed(&shell::read_file(&path)?)
    } else {
        BTreeSet::new()
    };
    let mut used = BTreeSet::new();
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|ext| ext == "rs"))
    {
        if contains_any(&shell::read_file(&workspace::root().join(file))?) {
            used.insert(file.to_string_lossy().into_owned());
        }
    }
    Ok(compare(&listed, &used))
}

fn compare(listed: &BTreeSet<String>, used: &BTreeSet<String>) -> Vec<String> {
    let missing = used.difference(listed).map(|file| {
        format!("{file} has unsafe code and is not in {LIST}'s section on it (as `{file}`)")
    });
    let stale = listed.difference(used);
    let stale = stale.map(|file| format!("{LIST} lists {file} as unsafe, but it has none"));
    missing.chain(stale).collect()
}

/// The paths in backticks of the section whose heading speaks of unsafe code.
fn listed(text: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut paths = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with('#') {
            inside = line.to_lowercase().contains("unsafe");
        } else if inside {
            let quoted = line.split('`').skip(1).step_by(2);
            paths.extend(
                quoted
                    .filter(|path| path.ends_with(".rs"))
                    .map(str::to_owned),
            );
        }
    }
    paths
}

fn contains_any(text: &str) -> bool {
    let code = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    code.into_iter()
        .any(|line| FORMS.iter().any(|form| line.contains(form)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_unsafe_section_lists_files() {
        let text = "# A\n`a.rs`\n## Unsafe code\n- `b/c.rs`: maps, `mmap`\n## After\n`d.rs`\n";
        assert_eq!(listed(text), BTreeSet::from(["b/c.rs".to_owned()]));
    }

    #[test]
    fn unlisted_and_stale_files_are_faults() {
        let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        let faults = compare(&set(&["a.rs", "b.rs"]), &set(&["b.rs", "c.rs"]));
        assert!(
            faults[0].contains("c.rs") && faults[1].contains("a.rs"),
            "{faults:?}"
        );
    }

    #[test]
    fn comments_are_not_code() {
        let form = FORMS[0];
        assert!(contains_any(&format!("let a = {form} b() }};")));
        assert!(!contains_any(&format!("// {form} is here")));
    }
}
